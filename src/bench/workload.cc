#include "src/bench/workload.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace dovetail::bench {
namespace {

constexpr double kTheta = 0.99;
constexpr uint32_t kScanMax = 100;

double Zeta(uint64_t n) {
  double sum = 0;
  for (uint64_t i = 1; i <= n; ++i) {
    sum += 1 / std::pow(static_cast<double>(i), kTheta);
  }
  return sum;
}

// Spreads neighbouring numbers over all of 64 bits (FNV-1a), so that the
// popular records do not lie together.
uint64_t Scatter(uint64_t number) {
  uint64_t hash = 0xcbf29ce484222325;
  for (int i = 0; i < 8; ++i) {
    hash = (hash ^ (number & 0xff)) * 0x100000001b3;
    number >>= 8;
  }
  return hash;
}

std::vector<Workload> AllWorkloads() {
  return {
      {"a", {{Kind::kRead, 50}, {Kind::kUpdate, 50}}},
      {"b", {{Kind::kRead, 95}, {Kind::kUpdate, 5}}},
      {"c", {{Kind::kRead, 100}}},
      {"d", {{Kind::kRead, 95}, {Kind::kInsert, 5}}, Spread::kLatest},
      {"e", {{Kind::kScan, 95}, {Kind::kInsert, 5}}},
      {"f", {{Kind::kRead, 50}, {Kind::kReadModifyWrite, 50}}},
      {"set-add", {{Kind::kSetAdd, 100}}, Spread::kZipfian, Kind::kSetAdd},
      {"counter-add",
       {{Kind::kCounterAdd, 100}},
       Spread::kZipfian,
       Kind::kCounterAdd},
      {"map-update",
       {{Kind::kMapUpdate, 100}},
       Spread::kZipfian,
       Kind::kMapUpdate},
  };
}

}  // namespace

absl::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kRead:
      return "read";
    case Kind::kUpdate:
      return "update";
    case Kind::kInsert:
      return "insert";
    case Kind::kScan:
      return "scan";
    case Kind::kReadModifyWrite:
      return "read-modify-write";
    case Kind::kSetAdd:
      return "set-add";
    case Kind::kCounterAdd:
      return "counter-add";
    case Kind::kMapUpdate:
      return "map-update";
  }
  return "unknown";
}

absl::StatusOr<Workload> WorkloadByName(absl::string_view name) {
  std::string names;
  for (const Workload& workload : AllWorkloads()) {
    if (workload.name == name) return workload;
    absl::StrAppend(&names, names.empty() ? "" : ", ", workload.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no such workload: ", name, "; there are ", names));
}

Workload LoadOf(const Workload& workload) {
  return {"load", {{workload.load, 100}}, Spread::kSequential, workload.load};
}

Zipfian::Zipfian(uint64_t n)
    : n_(std::max<uint64_t>(n, 1)),
      zeta_n_(Zeta(n_)),
      alpha_(1 / (1 - kTheta)),
      eta_((1 - std::pow(2.0 / static_cast<double>(n_), 1 - kTheta)) /
           (1 - Zeta(2) / zeta_n_)) {}

uint64_t Zipfian::Draw(std::mt19937_64& random) const {
  const double u = std::uniform_real_distribution<double>(0, 1)(random);
  const double uz = u * zeta_n_;
  if (uz < 1) return 0;
  if (uz < 1 + std::pow(0.5, kTheta)) return std::min<uint64_t>(1, n_ - 1);
  const double drawn =
      static_cast<double>(n_) * std::pow(eta_ * u - eta_ + 1, alpha_);
  return std::min(static_cast<uint64_t>(drawn), n_ - 1);
}

Chooser::Chooser(const Workload& workload, const Zipfian& zipfian,
                 std::atomic<uint64_t>& records, uint64_t seed)
    : workload_(workload),
      zipfian_(zipfian),
      records_(records),
      random_(seed) {}

Kind Chooser::DrawKind() {
  auto left = static_cast<uint32_t>(random_() % 100);
  for (const Share& share : workload_.shares) {
    if (left < share.percent) return share.kind;
    left -= share.percent;
  }
  return workload_.shares.front().kind;
}

uint64_t Chooser::DrawRecord() {
  const uint64_t records = std::max<uint64_t>(records_.load(), 1);
  switch (workload_.spread) {
    case Spread::kZipfian:
      return Scatter(zipfian_.Draw(random_)) % records;
    case Spread::kLatest:
      return records - 1 - zipfian_.Draw(random_) % records;
    case Spread::kSequential:
      break;
  }
  return records_.fetch_add(1);
}

Step Chooser::Next() {
  Step step;
  step.kind = DrawKind();
  step.record =
      step.kind == Kind::kInsert ? records_.fetch_add(1) : DrawRecord();
  step.scan_length = static_cast<uint32_t>(1 + random_() % kScanMax);
  return step;
}

absl::string_view Chooser::Value(size_t size) {
  // A fresh start within a pool of random bytes: as good, and cheap.
  if (bytes_.size() < 2 * size + 4096) {
    bytes_.resize(2 * size + 4096);
    for (char& byte : bytes_) byte = static_cast<char>(random_());
  }
  return absl::string_view(bytes_).substr(random_() % (bytes_.size() - size),
                                          size);
}

std::string RecordKey(uint64_t record) {
  return absl::StrFormat("user%012d", record);
}

}  // namespace dovetail::bench
