// Plays one scenario: carries out its statements in a World and says which
// expectation failed, with the story so far.
#ifndef DOVETAIL_TESTS_SCENARIO_RUNNER_H_
#define DOVETAIL_TESTS_SCENARIO_RUNNER_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "crdt/hlc.h"
#include "crdt/session.h"
#include "crdt/token.h"
#include "tests/scenario/parser.h"
#include "tests/scenario/world.h"

namespace dovetail::scenario {

// What was wrong with a statement.
struct Complaint {
  enum class Kind {
    kExpectation,  // it did not hold, or a verb did not do what it says
    kScript,       // the script makes no sense here (an unknown token)
    kNotSupported,
  };
  Kind kind = Kind::kExpectation;
  std::string expected;  // or, of a script, what is wrong
  std::string got;
};
using Judgement = std::optional<Complaint>;  // nullopt: all is well

// The exit codes of the program.
enum class Result { kHolds = 0, kFails = 1, kUnreadable = 2 };

class Runner {
 public:
  explicit Runner(WorldOptions options) : world_(std::move(options)) {}

  // Runs the scenario `text`, called `name` in messages, and appends to `out`
  // what is to be printed.
  Result Run(absl::string_view name, absl::string_view text, std::string& out);

 private:
  using NodeId = replica::NodeId;

  // One overload for each kind of statement.
  Judgement Do(const AddNodes& statement);
  Judgement Do(const SetPartitions& statement);
  Judgement Do(const UseBucket& statement);
  Judgement Do(const Repeat& statement);
  Judgement Do(const Operate& statement);
  Judgement Do(const ReadObject& statement);
  Judgement Do(const SetClock& statement);
  Judgement Do(const Wait& statement);
  Judgement Do(const Ship& statement);
  Judgement Do(const Drop& statement);
  Judgement Do(const Duplicate& statement);
  Judgement Do(const Cut& statement);
  Judgement Do(const Heal& statement);
  Judgement Do(const SyncPair& statement);
  Judgement Do(const RangeSync& statement);
  Judgement Do(const Settle& statement);
  Judgement Do(const Crash& statement);
  Judgement Do(const MakeDurable& statement);
  Judgement Do(const Start& statement);
  Judgement Do(const Backup& statement);
  Judgement Do(const Restore& statement);
  Judgement Do(const Clone& statement);
  Judgement Do(const ChangeRing& statement);
  Judgement Do(const Wipe& statement);
  Judgement Do(const Damage& statement);
  Judgement Do(const Scrub& statement);
  Judgement Do(const Stale& statement);
  Judgement Do(const ExpectObject& statement);
  Judgement Do(const ExpectNumber& statement);
  Judgement Do(const ExpectIdentical& statement);

  Judgement Perform(const Statement& statement);
  Judgement Carry(const Statement& statement);
  NodeId Node(const std::string& name) const;
  Network::Way Way(const Link& link) const;
  // The place in the queue that a statement names, or a complaint.
  Judgement CheckPlace(const Link& link, uint64_t place);
  Judgement Need(NodeId node, bool running) const;
  // Fills in bucket and token.
  std::optional<crdt::Operation> Complete(const OperationStep& step,
                                          Judgement& complaint) const;

  // --- once.cc ---
  // Sends `request` as the story's one client does under op=`id`: as it was if
  // it was sent before, else with the tokens it needs, read at `who`.
  absl::StatusOr<replica::WriteReply> WriteOnce(NodeId who, uint64_t id,
                                                replica::WriteRequest request,
                                                const RequestTerms& terms);
  absl::StatusOr<crdt::ObservedToken> TokenFor(
      NodeId who, const crdt::Operation& operation);
  absl::StatusOr<replica::WriteReply> Send(NodeId who,
                                           replica::WriteRequest request,
                                           const RequestTerms& terms);

  // --- expectations.cc ---
  // The whole view, page by page, or up to the limit.
  absl::StatusOr<crdt::View> ReadView(const std::vector<NodeId>& who,
                                      crdt::ReadSpec spec);
  Judgement JudgeObject(const ExpectObject& expect,
                        const std::vector<NodeId>& who);
  absl::StatusOr<int64_t> Measure(const ExpectNumber& expect, NodeId node);
  absl::StatusOr<int64_t> CountRows(NodeId node);
  absl::StatusOr<int64_t> CountDots(NodeId node, crdt::ObjectId object);
  absl::StatusOr<int64_t> MsLeft(NodeId node, crdt::ObjectId object);
  absl::StatusOr<int64_t> EventBytes(NodeId node, NodeId of);
  std::string Difference(NodeId a, NodeId b, bool named);

  void Tell(std::string line) { story_.push_back(std::move(line)); }
  void AddToLast(absl::string_view note);

  World world_;
  Parser parser_;
  std::string bucket_ = "default";
  std::set<std::string> buckets_ = {"default"};
  std::map<std::string, crdt::ObservedToken> tokens_;
  // What the story's one client has sent under op=N, to be sent again as it
  // was; and its writer in each partition.
  std::map<uint64_t, crdt::SessionWriter::Prepared> identified_;
  std::map<replica::PartitionId, crdt::SessionWriter> writers_;
  crdt::HybridClock client_clock_;
  std::map<std::string, std::unique_ptr<sim::Disk>> backups_;
  // The statement under way, as written, for messages.
  std::string current_;
  int line_ = 0;
  std::vector<std::string> story_;
};

}  // namespace dovetail::scenario

#endif  // DOVETAIL_TESTS_SCENARIO_RUNNER_H_
