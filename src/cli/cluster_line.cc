#include "src/cli/cluster_line.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "replica/ring.h"
#include "src/cli/cluster_commands.h"
#include "src/cli/help.h"
#include "src/cli/transfer_commands.h"
#include "src/client/client.h"

namespace dovetail::cli {
namespace {

using replica::ChangeKind;
using replica::NamedChange;

class ClusterLine {
 public:
  ClusterLine(ClusterWords& words, std::vector<std::string>& names,
              std::function<void(Job)> choose,
              std::function<void(LocalJob)> choose_local)
      : words_(words),
        names_(names),
        choose_(std::move(choose)),
        choose_local_(std::move(choose_local)) {}

  void AddTo(CLI::App& app, std::string& bucket, std::string& key);

 private:
  CLI::App* Add(const char* name, const char* help) {
    CLI::App* command = group_->add_subcommand(name, help);
    command->fallthrough();
    return command;
  }
  CLI::App* Add(const char* name, const char* help, Job job) {
    CLI::App* command = Add(name, help);
    command->callback(
        [choose = choose_, job = std::move(job)] { choose(job); });
    return command;
  }
  CLI::App* Admin(const char* name, const char* help,
                  std::function<ClusterAdmin()> make) {
    return Add(name, help,
               [make = std::move(make)](Caller& caller, const Output& output) {
                 return RunClusterAdmin(caller.client(), make(), output);
               });
  }
  void AddViews(std::string& bucket, std::string& key);
  void AddChanges();
  void AddLocal();

  ClusterWords& words_;
  std::vector<std::string>& names_;
  const std::function<void(Job)> choose_;
  const std::function<void(LocalJob)> choose_local_;
  CLI::App* group_ = nullptr;
};

void ClusterLine::AddTo(CLI::App& app, std::string& bucket, std::string& key) {
  group_ = app.add_subcommand("cluster", "who is in the cluster and owns what");
  group_->fallthrough();
  group_->require_subcommand(1, 1);
  group_->footer(kClusterFooter);
  AddViews(bucket, key);
  AddChanges();
  AddLocal();
}

void ClusterLine::AddViews(std::string& bucket, std::string& key) {
  Add("status", "everybody, as the node that answers sees them",
      OfClient(RunClusterStatus));
  Add("members", "names, places and addresses", OfClient(RunClusterMembers));
  Add("ring", "the owners of each partition", OfClient(RunClusterRing));
  Add("transfers", "what is on its way to new owners, and how far it is",
      OfClient(RunClusterTransfers));
  CLI::App* where =
      Add("where", "who owns a key, and who stands in",
          [&bucket, &key](Caller& caller, const Output& output) {
            return RunClusterWhere(caller.client(), bucket, key, output);
          });
  where->add_option("BUCKET", bucket)->required();
  where->add_option("KEY", key)->required();
}

void ClusterLine::AddChanges() {
  // By value: this object is gone when a command runs.
  ClusterWords& words = words_;
  std::vector<std::string>& names = names_;
  Admin("join",
        "stage that nodes become members: those named, or all that are "
        "alive and are none",
        [&names] { return net::StageJoins{names}; })
      ->add_option("NAME", names);
  Admin("leave", "stage that a member hands over what it owns and is none",
        [&words] {
          return NamedChange{ChangeKind::kLeave, words.node, "", 0};
        })
      ->add_option("NODE", words.node)
      ->required();
  Admin("replace",
        "stage that a node that is no member takes the place of a member, and "
        "with it exactly its partitions",
        [&names] {
          return NamedChange{ChangeKind::kReplace, names[0], names[1], 0};
        })
      ->add_option("OLD NEW", names)
      ->required()
      ->expected(2);
  CLI::App* weight = Admin(
      "weight", "stage how much a member owns in comparison to others",
      [&words] {
        return NamedChange{ChangeKind::kWeight, words.node, "", words.weight};
      });
  weight->add_option("NODE", words.node)->required();
  weight
      ->add_option("WEIGHT", words.weight,
                   "100 is what members have at first; 0: owns nothing")
      ->required()
      ->check(CLI::Range(0u, replica::kWeightMax));
  Admin("remove",
        "as leave, of a member whose disk is lost for ever: nothing is waited "
        "for from it",
        [&words] {
          return NamedChange{ChangeKind::kRemove, words.node, "", 0};
        })
      ->add_option("NODE", words.node)
      ->required();
  Admin("plan", "what the staged changes would do, and cost",
        [] { return net::ShowPlan{}; });
  Admin("abort", "take back all staged changes",
        [] { return net::AbortStaged{}; });
  CLI::App* commit = Admin(
      "commit", "make the plan the next ring; data moves by itself", [&words] {
        return net::CommitPlan{words.epoch, words.force};
      });
  commit->add_option("--epoch", words.epoch,
                     "only if the ring is still of this epoch, as the plan "
                     "that was looked at");
  commit->add_flag("--force", words.force,
                   "although data is still on its way by the ring that there "
                   "is: reads may miss what is not there yet");
  Admin("pause", "let transfers by ranges rest, in the whole cluster",
        [] { return net::PauseTransfers{true}; });
  Admin("resume", "let them go on", [] { return net::PauseTransfers{false}; });
}

void ClusterLine::AddLocal() {
  LocalCluster& local = words_.local;
  CLI::App* start =
      Add("start-local", "start nodes on this machine, for trying it out");
  start->add_option("N", local.nodes, "how many")
      ->capture_default_str()
      ->check(CLI::Range(1u, kLocalNodesMax));
  start
      ->add_option("--replicas", local.replicas,
                   "owners of each partition (default 3, or N)")
      ->check(CLI::Range(1u, kLocalNodesMax));
  start
      ->add_option("--zones", local.zones,
                   "spread the nodes over so many zones")
      ->check(CLI::Range(1u, kLocalNodesMax));
  start
      ->add_option("--base-port", local.base_port,
                   "of the first node for clients; the next ones follow, and "
                   "500 above are those between nodes")
      ->capture_default_str();
  start->callback([choose = choose_local_, &local] {
    choose(
        [&local](const Output& output) { return StartLocal(local, output); });
  });
  CLI::App* stop = Add("stop-local", "stop them");
  stop->callback([choose = choose_local_, &local] {
    choose([&local](const Output& output) {
      return StopLocal(local.directory, output);
    });
  });
  for (CLI::App* command : {start, stop}) {
    command
        ->add_option("--dir", local.directory,
                     "directory of their data, logs and pid files")
        ->capture_default_str();
  }
}

}  // namespace

void AddClusterCommands(CLI::App& app, ClusterWords& words, std::string& bucket,
                        std::string& key, std::vector<std::string>& names,
                        std::function<void(Job)> choose,
                        std::function<void(LocalJob)> choose_local) {
  ClusterLine(words, names, std::move(choose), std::move(choose_local))
      .AddTo(app, bucket, key);
}

}  // namespace dovetail::cli
