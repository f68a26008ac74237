// What a sync by ranges asks and answers: prints that are short, answers that
// are bounded, questions that wait.
#include <algorithm>
#include <string>
#include <variant>

#include "doctest/doctest.h"
#include "replica/range_question.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

// As fast as messages are delivered.
ShardOptions Unlimited() {
  ShardOptions options;
  options.transfer_bytes_per_second = 0;
  return options;
}

// Keys of one tag have one hash, so that all lie in one digest leaf.
std::string InOneLeaf(int i) { return "{leaf}" + std::to_string(i); }

void Write(Cluster& cluster, int keys, const std::string& value,
           std::string (*name)(int)) {
  for (int i = 0; i < keys; ++i) {
    REQUIRE(cluster.Write(0, WriteTo(name(i), value)).ok());
  }
}

TEST_CASE("Ranges: a short print that is another row's hides nothing") {
  // 250 rows that all differ: one of them has the print of some row of the
  // asker's more often than every other time.
  Cluster cluster(2, 1, Unlimited());
  Write(cluster, 250, "first", InOneLeaf);
  cluster.DeliverAll();
  for (int round = 0; round < 12; ++round) {
    Write(cluster, 250, "round " + std::to_string(round), InOneLeaf);
    cluster.network().clear();
    cluster.ForgetLog(0);
    cluster.StartRanges(1, 0);
    cluster.DeliverAll();
    CHECK(cluster.at(1).ContextOf(PartitionId{0}) ==
          cluster.at(0).ContextOf(PartitionId{0}));
    const auto mine = cluster.at(1).DumpRows(PartitionId{0});
    const auto theirs = cluster.at(0).DumpRows(PartitionId{0});
    REQUIRE(mine.ok());
    REQUIRE(theirs.ok());
    CHECK(*mine == *theirs);
  }
}

RangeQuestion QuestionOf(uint8_t print_bytes) {
  RangeQuestion question;
  for (uint64_t i = 1; i <= 3; ++i) {
    LeafSum sum;
    sum.sum = {i, i};
    sum.count = 1;
    question.sums.push_back(sum);
    question.keys.push_back("k" + std::to_string(i));
  }
  question.ask = AskRows{{"k", "l"}, print_bytes, {7, 7, 9}};
  return question;
}

LeafSum SumOf(const RangeQuestion& question, std::vector<size_t> places) {
  LeafSum sum;
  for (const size_t place : places) sum.Merge(question.sums[place]);
  return sum;
}

TEST_CASE("Ranges: what short prints say is checked by its sum") {
  const RangeQuestion question = QuestionOf(2);
  constexpr uint64_t kSalt = 5;
  RangePart part;
  part.differ = {1};
  part.equal = PrintOfSum(SumOf(question, {0, 2}), kSalt);
  CHECK(IsEqualIndeed(question, part, kSalt));
  part.differ = {0};  // the other row with that print
  CHECK_FALSE(IsEqualIndeed(question, part, kSalt));
  part.differ = {0, 1, 2};
  CHECK_FALSE(IsEqualIndeed(question, part, kSalt));
  part.equal.reset();
  CHECK(IsEqualIndeed(question, part, kSalt));
  part.differ = {0, 1};  // it says nothing of the third
  CHECK_FALSE(IsEqualIndeed(question, part, kSalt));
  // Beyond the rest nothing was compared.
  part.differ = {};
  part.rest = "k2";
  part.equal = PrintOfSum(SumOf(question, {0}), kSalt);
  CHECK(IsEqualIndeed(question, part, kSalt));
  part.rest = "k3";
  CHECK_FALSE(IsEqualIndeed(question, part, kSalt));
  CHECK(IsEqualIndeed(QuestionOf(8), part, kSalt));
}

TEST_CASE("Ranges: an answer is about no more rows than hold up nobody") {
  // A new owner asks for a whole partition at once; its source compares with
  // the digest what it answers, and did so with all of it.
  constexpr int kRows = 6000;
  Cluster cluster(2, 1, Unlimited());
  cluster.Crash(1);
  Write(cluster, kRows, "v", [](int i) { return "k" + std::to_string(i); });
  cluster.network().clear();
  cluster.ForgetLog(0);
  cluster.disk(1).Wipe();
  REQUIRE(cluster.Start(1).ok());
  cluster.StartRanges(1, 0);
  size_t most = 0, rows = 0;
  while (!cluster.network().empty()) {
    const Message& message = cluster.network().front().message;
    if (const auto* answer = std::get_if<RangeAnswer>(&message.body)) {
      size_t here = 0;
      for (const RangePart& part : answer->parts) here += part.rows.size();
      most = std::max(most, here);
      rows += here;
    }
    cluster.Deliver(0);
  }
  CHECK(rows == kRows);
  CHECK(most > 100);
  CHECK(most < 1200);
  CHECK(cluster.Differences() == "");
}

size_t Answers(Cluster& cluster) {
  return static_cast<size_t>(std::count_if(
      cluster.network().begin(), cluster.network().end(), [](const auto& it) {
        return std::holds_alternative<RangeAnswer>(it.message.body);
      }));
}

TEST_CASE("Ranges: a source gives no more bytes a second than it may") {
  ShardOptions options;
  options.transfer_bytes_per_second = 1000;
  options.range_chunk_bytes = 1;  // a row, which counts for 256
  Cluster cluster(3, 1, options);
  for (const uint32_t node : {1, 2}) cluster.Crash(node);
  Write(cluster, 20, "v", [](int i) { return "k" + std::to_string(i); });
  cluster.network().clear();
  cluster.ForgetLog(0);
  for (const uint32_t node : {1, 2}) {
    cluster.disk(node).Wipe();
    REQUIRE(cluster.Start(node).ok());
    cluster.StartRanges(node, 0);
  }
  // Both ask; one is answered, and the other has to wait for a while.
  while (!cluster.network().empty() && Answers(cluster) == 0) {
    cluster.Deliver(0);
  }
  cluster.DeliverAll([](const Cluster::InFlight& it) {
    return std::holds_alternative<RangeAnswer>(it.message.body);
  });
  CHECK(Answers(cluster) == 1);
  cluster.Advance(absl::Milliseconds(300));
  CHECK(Answers(cluster) == 2);
  const auto began = cluster.now().steady;
  while (cluster.Differences() != "" &&
         cluster.now().steady - began < absl::Minutes(1)) {
    cluster.Advance(absl::Milliseconds(20));
    cluster.DeliverAll();
  }
  CHECK(cluster.Differences() == "");
  const double bytes =
      static_cast<double>(cluster.at(0).stats().range_bytes_sent);
  CHECK(cluster.now().steady - began > absl::Seconds(bytes / 1000 - 2));
}

}  // namespace
}  // namespace dovetail::replica
