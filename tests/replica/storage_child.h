// Processes of their own for tests of RocksStorage: what dies, holds a lock or
// may not write. Each is this test's executable, started with other arguments.
#ifndef DOVETAIL_TESTS_REPLICA_STORAGE_CHILD_H_
#define DOVETAIL_TESTS_REPLICA_STORAGE_CHILD_H_

#include <sys/types.h>

#include <string>

namespace dovetail::replica {

// What a child does with the data directory that it is given:
//  "commit"  commits Delta(1), Delta(2), ... and prints a line after each,
//            until it is killed;
//  "die"     commits Delta(1) to Delta(20) and calls _exit(0) at once;
//  "limit"   commits until its log hits a limit on the size of files, checks
//            what holds then, and exits with 0 if all of it did.
// Returns the child's exit code. `mode` empty: not a child, returns -1.
int RunStorageChild(const std::string& mode, const std::string& directory);

class StorageChild {
 public:
  StorageChild(const std::string& mode, const std::string& directory);
  ~StorageChild();  // Kills it if it still runs.
  StorageChild(const StorageChild&) = delete;
  StorageChild& operator=(const StorageChild&) = delete;

  // Waits for the next line, and returns it; empty at the end of the output.
  std::string ReadLine();
  void Kill();
  // Waits for the end. Its exit code, or minus the signal that ended it.
  int Wait();

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_STORAGE_CHILD_H_
