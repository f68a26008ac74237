// Short words for tests of storage.
#ifndef DOVETAIL_TESTS_REPLICA_STORAGE_TESTING_H_
#define DOVETAIL_TESTS_REPLICA_STORAGE_TESTING_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "replica/storage.h"
#include "tests/sim/disk.h"

namespace dovetail::replica {

// Everything in a storage: (family, key) -> value.
using Contents = std::map<std::pair<Family, std::string>, std::string>;

inline Contents Dump(Storage& storage) {
  Contents all;
  for (size_t i = 0; i < kFamilyCount; ++i) {
    const auto family = static_cast<Family>(i);
    const absl::Status status = storage.Scan(
        family, "", "", [&](absl::string_view key, absl::string_view value) {
          all[{family, std::string(key)}] = std::string(value);
          return true;
        });
    REQUIRE_MESSAGE(status.ok(), status.ToString());
  }
  return all;
}

inline std::optional<std::string> MustGet(Storage& storage, Family family,
                                          absl::string_view key) {
  const auto value = storage.Get(family, key);
  REQUIRE_MESSAGE(value.ok(), value.status().ToString());
  return *value;
}

inline std::unique_ptr<Storage> MustOpen(sim::Disk& disk) {
  auto storage = disk.Open();
  REQUIRE_MESSAGE(storage.ok(), storage.status().ToString());
  return *std::move(storage);
}

inline void MustCommit(Storage& storage, const WriteBatch& batch,
                       CommitMode mode = CommitMode::kWritten) {
  const absl::Status status = storage.Commit(batch, mode);
  REQUIRE_MESSAGE(status.ok(), status.ToString());
}

inline void MustSync(Storage& storage) {
  const absl::Status status = storage.Sync();
  REQUIRE_MESSAGE(status.ok(), status.ToString());
}

inline WriteBatch OnePut(Family family, absl::string_view key,
                         absl::string_view value) {
  WriteBatch batch;
  batch.Put(family, key, value);
  return batch;
}

// The `i`-th batch of a history: as an applied delta, in every family.
inline WriteBatch Delta(int i) {
  WriteBatch batch;
  batch.Put(Family::kRows, absl::StrCat("row", i % 3), absl::StrCat(i));
  batch.Put(Family::kLog, absl::StrCat("log", i), std::string(40, 'd'));
  batch.Put(Family::kMeta, "last", absl::StrCat(i));
  if (i > 2) batch.Delete(Family::kIndex, absl::StrCat("index", i - 2));
  batch.Put(Family::kIndex, absl::StrCat("index", i), "");
  return batch;
}

// What is there after Delta(1) ... Delta(count).
inline Contents AfterDeltas(int count) {
  Contents all;
  for (int i = 1; i <= count; ++i) {
    const WriteBatch delta = Delta(i);
    for (const WriteBatch::Entry& entry : delta.entries()) {
      if (entry.value.has_value()) {
        all[{entry.family, entry.key}] = *entry.value;
      } else {
        all.erase({entry.family, entry.key});
      }
    }
  }
  return all;
}

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_STORAGE_TESTING_H_
