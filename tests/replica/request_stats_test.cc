#include "replica/request_stats.h"

#include <numeric>
#include <string>

#include "doctest/doctest.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

// A cluster whose node 0 is asked, and a watch of what it is asked.
struct Watched {
  Cluster cluster{3};
  RequestWatch watch;

  void Begin(RequestId id, decltype(ClientRequest::body) body,
             RequestOptions options) {
    watch.Begin({id, options, std::move(body)}, cluster.now().steady);
  }
  RequestId Write(RequestOptions options) {
    const RequestId id = cluster.Begin(0, {AddTo("k", {"x"})}, options);
    Begin(id, WriteRequest{}, options);
    return id;
  }
  RequestId Read(RequestOptions options) {
    crdt::ReadSpec spec;
    spec.object = {"b", "k", crdt::Type::kSet};
    const RequestId id = cluster.BeginRead(0, spec, options);
    Begin(id, ReadRequest{}, options);
    return id;
  }
  void End(RequestId id) {
    const auto reply = cluster.Take(id);
    REQUIRE(reply.has_value());
    watch.End(*reply, cluster.now().steady);
  }
  uint64_t count(RequestKind kind, LevelClass level, absl::StatusCode outcome) {
    return watch.counts().count(kind, level, outcome);
  }
};

RequestOptions At(Level level) { return {level, level, {}, {}}; }

uint64_t SumOf(const RequestCounts::Durations& durations) {
  return std::accumulate(durations.buckets.begin(), durations.buckets.end(),
                         uint64_t{0});
}

TEST_CASE("RequestWatch: requests count by kind, level and outcome") {
  Watched w;
  const RequestId good = w.Write(At(Level::Quorum()));
  w.cluster.Advance(absl::Milliseconds(3));
  w.cluster.DeliverAll();
  w.End(good);

  const RequestId late = w.Write(At(Level::All()));
  w.cluster.network().clear();
  CHECK(w.watch.in_flight() == 1);
  w.cluster.Advance(absl::Seconds(3));
  w.End(late);
  CHECK(w.watch.in_flight() == 0);

  w.End(w.Read(At(Level::One())));
  w.End(w.Write(At(Level::Count(4))));  // there are three
  w.cluster.Crash(1);
  w.cluster.Crash(2);
  w.End(w.Write(At({})));

  CHECK(w.count(RequestKind::kWrite, LevelClass::kQuorum,
                absl::StatusCode::kOk) == 1);
  CHECK(w.count(RequestKind::kWrite, LevelClass::kAll,
                absl::StatusCode::kDeadlineExceeded) == 1);
  CHECK(w.count(RequestKind::kWrite, LevelClass::kAll, absl::StatusCode::kOk) ==
        0);
  CHECK(w.count(RequestKind::kRead, LevelClass::kOne, absl::StatusCode::kOk) ==
        1);
  CHECK(w.count(RequestKind::kWrite, LevelClass::kCount,
                absl::StatusCode::kInvalidArgument) == 1);
  CHECK(w.count(RequestKind::kWrite, LevelClass::kDefault,
                absl::StatusCode::kUnavailable) == 1);

  const auto& quorum =
      w.watch.counts().durations(RequestKind::kWrite, LevelClass::kQuorum);
  CHECK(quorum.count == 1);
  CHECK(quorum.sum_us == 3'000);
  CHECK(quorum.buckets[5] == 1);  // up to 5 ms
  const auto& all =
      w.watch.counts().durations(RequestKind::kWrite, LevelClass::kAll);
  CHECK(all.sum_us == 3'000'000);
  CHECK(SumOf(all) == 1);
}

TEST_CASE("RequestWatch: a reply to nobody's request is not counted") {
  Watched w;
  const RequestId id = w.Read(At(Level::One()));
  const auto reply = w.cluster.Take(id);
  REQUIRE(reply.has_value());
  w.watch.End(*reply, w.cluster.now().steady);
  w.watch.End(*reply, w.cluster.now().steady);
  CHECK(w.count(RequestKind::kRead, LevelClass::kOne, absl::StatusCode::kOk) ==
        1);
}

TEST_CASE("RequestCounts: a bound belongs to its bucket, and none is lost") {
  RequestCounts counts;
  const auto count = [&](absl::Duration took) {
    counts.Count(RequestKind::kList, LevelClass::kOne, absl::StatusCode::kOk,
                 took);
  };
  for (const int64_t bound : kDurationBucketsUs) {
    count(absl::Microseconds(bound));
    count(absl::Microseconds(bound + 1));
  }
  count(-absl::Seconds(1));  // a clock that went back costs nothing
  const auto& durations =
      counts.durations(RequestKind::kList, LevelClass::kOne);
  CHECK(durations.buckets.front() == 2);
  for (size_t i = 1; i + 1 < durations.buckets.size(); ++i) {
    CHECK(durations.buckets[i] == 2);
  }
  CHECK(durations.buckets.back() == 1);
  CHECK(durations.count == SumOf(durations));

  RequestCounts twice = counts;
  twice.Add(counts);
  const auto& sum = twice.durations(RequestKind::kList, LevelClass::kOne);
  CHECK(sum.count == 2 * durations.count);
  CHECK(sum.sum_us == 2 * durations.sum_us);
  CHECK(sum.buckets[3] == 4);
  CHECK(twice.count(RequestKind::kList, LevelClass::kOne,
                    absl::StatusCode::kOk) == sum.count);
}

TEST_CASE("RequestWatch: levels are those of reads for reads, else of writes") {
  ClientRequest request;
  request.options.read = Level::LocalQuorum();
  request.options.write = Level::EachQuorum();
  request.body = WriteRequest{};
  CHECK(NameOf(LevelClassOf(request)) == "each_quorum");
  CHECK(NameOf(KindOf(request)) == "write");
  request.body = ReadRequest{};
  CHECK(NameOf(LevelClassOf(request)) == "local_quorum");
  CHECK(NameOf(KindOf(request)) == "read");
  request.body = ListRequest{};
  CHECK(NameOf(LevelClassOf(request)) == "local_quorum");
  CHECK(NameOf(KindOf(request)) == "list");
  CHECK(OutcomeName(absl::StatusCode::kDeadlineExceeded) ==
        "deadline_exceeded");
  CHECK(OutcomeName(absl::StatusCode::kOk) == "ok");
}

}  // namespace
}  // namespace dovetail::replica
