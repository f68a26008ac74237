// What to do next: the YCSB core workloads on registers, and mixes for the
// types that YCSB does not know.
//
//   a  50% read, 50% update            zipfian
//   b  95% read,  5% update            zipfian
//   c 100% read                        zipfian
//   d  95% read,  5% insert            the latest records most
//   e  95% scan,  5% insert            zipfian start, 1..100 keys
//   f  50% read, 50% read-modify-write zipfian
//   set-add, counter-add, map-update: 100% of that, zipfian
//
// Source: Cooper et al., "Benchmarking Cloud Serving Systems with YCSB" (2010),
// sections 4 and 5; the zipfian generator is that of Gray et al., "Quickly
// Generating Billion-Record Synthetic Databases" (1994), section 3.2.
#ifndef DOVETAIL_SRC_BENCH_WORKLOAD_H_
#define DOVETAIL_SRC_BENCH_WORKLOAD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dovetail::bench {

enum class Kind : uint8_t {
  kRead,
  kUpdate,
  kInsert,
  kScan,
  kReadModifyWrite,
  kSetAdd,
  kCounterAdd,
  kMapUpdate,
};
inline constexpr size_t kKinds = 8;
absl::string_view KindName(Kind kind);

// kSequential: each record once, in order, as they come to be.
enum class Spread : uint8_t { kZipfian, kLatest, kSequential };

struct Share {
  Kind kind = Kind::kRead;
  uint32_t percent = 0;
};

struct Workload {
  std::string name;
  std::vector<Share> shares;  // 100 percent together
  Spread spread = Spread::kZipfian;
  Kind load = Kind::kInsert;  // what makes a record
};

// What makes the records of `workload`.
Workload LoadOf(const Workload& workload);

// Errors: InvalidArgument, with the names there are.
absl::StatusOr<Workload> WorkloadByName(absl::string_view name);

// Numbers 0..n-1, 0 most often: P(i) ~ 1 / (i+1)^0.99. Cost: O(n) to build,
// O(1) to draw.
class Zipfian {
 public:
  explicit Zipfian(uint64_t n);
  uint64_t Draw(std::mt19937_64& random) const;

 private:
  uint64_t n_;
  double zeta_n_;
  double alpha_;
  double eta_;
};

struct Step {
  Kind kind = Kind::kRead;
  uint64_t record = 0;
  uint32_t scan_length = 0;  // scans
};

// Draws steps. `records` counts what exists; inserts raise it, and all choosers
// of one run share it. Everything else is per chooser: not thread-safe.
class Chooser {
 public:
  // The references must outlive it.
  Chooser(const Workload& workload, const Zipfian& zipfian,
          std::atomic<uint64_t>& records, uint64_t seed);
  Step Next();
  // `size` bytes that do not compress; valid until the next call.
  absl::string_view Value(size_t size);
  std::mt19937_64& random() { return random_; }

 private:
  Kind DrawKind();
  uint64_t DrawRecord();

  const Workload& workload_;
  const Zipfian& zipfian_;
  std::atomic<uint64_t>& records_;
  std::mt19937_64 random_;
  std::string bytes_;
};

// "user000000000042"
std::string RecordKey(uint64_t record);

}  // namespace dovetail::bench

#endif  // DOVETAIL_SRC_BENCH_WORKLOAD_H_
