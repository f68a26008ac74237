// Tasks in forked processes, so that one that dies or hangs costs only itself:
// each process is given a few tasks, reports each as it ends, and is replaced
// when it is through or dead.
#ifndef DOVETAIL_TESTS_SIM_TASK_POOL_H_
#define DOVETAIL_TESTS_SIM_TASK_POOL_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace dovetail::sim {

struct PoolSettings {
  int jobs = 1;
  // A task that takes longer is killed; that is its result.
  double task_seconds_max = 30;
};

struct TaskResult {
  // Empty: the task ended. Else how its process did, with what it wrote to its
  // standard error.
  std::string death;
  std::string answer;
};

struct Tasks {
  // The tasks of the next process, in order; empty: there are none for now. It
  // is asked again when a process ends.
  std::function<std::vector<uint64_t>()> next;
  // Runs in the child.
  std::function<std::string(uint64_t task)> work;
  // Runs in the parent, once for each task.
  std::function<void(uint64_t task, const TaskResult& result)> done;
};

// Returns when no process runs and there is no next task.
void RunTasks(const PoolSettings& settings, const Tasks& tasks);

// One piece of work in a process of its own.
TaskResult RunIsolated(double seconds_max,
                       const std::function<std::string()>& work);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_TASK_POOL_H_
