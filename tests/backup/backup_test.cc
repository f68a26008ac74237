#include "src/backup/backup.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "replica/rocks_storage.h"
#include "replica/shard.h"
#include "src/backup/manifest.h"
#include "tests/sim/rocks_disk.h"

namespace dovetail::backup {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kPartitions = 4;
const Origin kOrigin = {"demo", "n1", kPartitions, 1'700'000'000'000};

// A node's data: one shard on a database.
class NodeData {
 public:
  explicit NodeData(const std::string& directory, uint64_t actor_bits = 7)
      : placement_(1, kPartitions) {
    auto opened =
        replica::RocksStorage::Open(directory, replica::RocksOptions());
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    storage_ = *std::move(opened);
    const auto actor = crdt::MakeActorId(crdt::ActorKind::kNode, actor_bits);
    shard_ = std::make_unique<replica::Shard>(
        options_, placement_,
        replica::Shard::Identity{replica::NodeId{0}, actor, 0, 1}, *storage_);
    REQUIRE(shard_->Open({}).ok());
  }

  void Add(const std::string& key, const std::string& element) {
    crdt::Operation add;
    add.object = {"b", key, crdt::Type::kSet};
    add.verb = crdt::Verb::kAdd;
    add.elements = {element};
    replica::ClientRequest request;
    request.id = replica::RequestId{next_id_++};
    replica::WriteRequest write;
    write.operations = {add};
    request.body = std::move(write);
    shard_->HandleRequest(std::move(request), {});
    const replica::Output output = shard_->EndTurn({});
    REQUIRE(output.replies.size() == 1);
    const auto* reply =
        std::get_if<replica::WriteReply>(&*output.replies[0].body);
    REQUIRE(reply != nullptr);
  }

  replica::RocksStorage& storage() { return *storage_; }
  uint64_t values() const {
    uint64_t sum = 0;
    for (const auto& digest : shard_->Digests()) sum += digest.row_entries;
    return sum;
  }

 private:
  const replica::ShardOptions options_;
  const replica::Placement placement_;
  std::unique_ptr<replica::RocksStorage> storage_;
  std::unique_ptr<replica::Shard> shard_;
  uint64_t next_id_ = 1;
};

// A backup of twenty values, and where it is.
struct Made {
  sim::TemporaryDirectory directory;
  std::string backup = absl::StrCat(directory.path(), "/backups/first");
  NodeData node{absl::StrCat(directory.path(), "/db")};

  Made() {
    for (int i = 0; i < 20; ++i) node.Add(absl::StrCat("k", i), "old");
    const auto made = Create(node.storage(), backup, kOrigin);
    REQUIRE_MESSAGE(made.ok(), made.status().ToString());
    CHECK(made->origin == kOrigin);
    CHECK(made->bytes() > 0);
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry :
         fs::directory_iterator(absl::StrCat(backup, "/", kDatabase))) {
      files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
};

std::string ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// A new file, so that what is linked to the old one keeps its content.
void Replace(const std::string& path, const std::string& bytes) {
  fs::remove(path);
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  REQUIRE(out.good());
}

TEST_CASE("Backup: a manifest is read as written, and no byte may differ") {
  const Manifest manifest = {
      kOrigin,
      {{"000012.sst", 4096, "-"}, {"CURRENT", 16, std::string(32, 'a')}}};
  const std::string text = Encode(manifest);
  REQUIRE(Decode(text).has_value());
  CHECK(*Decode(text) == manifest);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string altered = text;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    CHECK_FALSE(Decode(altered).has_value());
    CHECK_FALSE(Decode(text.substr(0, i)).has_value());
  }
}

TEST_CASE("Backup: a name that leads out of its folder is refused") {
  for (const char* good : {"first", "2026-11-26", "a.b_c"}) {
    CHECK(CheckName(good).ok());
  }
  for (const char* bad : {"", ".", "..", ".hidden", "a/b", "../x", "a b"}) {
    CHECK(absl::IsInvalidArgument(CheckName(bad)));
  }
  CHECK(
      absl::IsInvalidArgument(CheckName(std::string(kNameBytesMax + 1, 'a'))));
}

TEST_CASE("Backup: it stays what it was while the node goes on writing") {
  Made made;
  const uint64_t values = made.node.values();
  for (int i = 0; i < 50; ++i) made.node.Add(absl::StrCat("k", i), "new");
  REQUIRE(made.node.storage().Sync().ok());
  for (int round = 0; round < 2; ++round) {  // verifying leaves it alone
    const auto contents = Verify(made.backup);
    REQUIRE_MESSAGE(contents.ok(), contents.status().ToString());
    CHECK(contents->manifest.origin == kOrigin);
    CHECK(contents->values == values);
    CHECK(contents->events == 20);
    CHECK(contents->partitions_used == kPartitions);
  }
  CHECK(made.node.values() > values);
}

TEST_CASE("Backup: a second one by the same name is refused, the first stays") {
  Made made;
  CHECK(absl::IsFailedPrecondition(
      Create(made.node.storage(), made.backup, kOrigin).status()));
  CHECK(Verify(made.backup).ok());
}

TEST_CASE("Backup: a file that is missing, short or altered is noticed") {
  Made made;
  for (const std::string& file : made.Files()) {
    CAPTURE(file);
    const std::string bytes = ReadBytes(file);
    if (bytes.empty()) continue;
    fs::remove(file);
    CHECK(absl::IsDataLoss(Verify(made.backup).status()));
    Replace(file, bytes.substr(0, bytes.size() - 1));
    CHECK(absl::IsDataLoss(Verify(made.backup).status()));
    // Of a table a block: the rest of the file is not what is read.
    std::string altered = bytes;
    const size_t at = absl::EndsWith(file, ".sst") ? 10 : bytes.size() / 2;
    altered[at] = static_cast<char>(altered[at] ^ 0x10);
    Replace(file, altered);
    CHECK(absl::IsDataLoss(Verify(made.backup).status()));
    Replace(file, bytes);
    CHECK(Verify(made.backup).ok());
  }
}

TEST_CASE("Backup: without its last file it is none") {
  Made made;
  fs::remove(absl::StrCat(made.backup, "/", kBackupFile));
  const auto contents = Verify(made.backup);
  CHECK(absl::IsFailedPrecondition(contents.status()));
  CHECK(absl::StrContains(contents.status().message(), "not completed"));
}

TEST_CASE("Backup: a copy is complete or not there, and may change alone") {
  Made made;
  const std::string target = absl::StrCat(made.directory.path(), "/copy");
  const std::string victim = made.Files().back();
  const std::string bytes = ReadBytes(victim);
  fs::remove(victim);
  CHECK(absl::IsDataLoss(CopyDatabase(made.backup, target)));
  CHECK_FALSE(fs::exists(target));
  Replace(victim, bytes);
  REQUIRE(CopyDatabase(made.backup, target).ok());
  {
    NodeData copy(target, /*actor_bits=*/8);
    CHECK(copy.values() == 20);
    for (int i = 0; i < 50; ++i) copy.Add(absl::StrCat("k", i), "other");
  }
  CHECK(absl::IsFailedPrecondition(CopyDatabase(made.backup, target)));
  const auto contents = Verify(made.backup);
  REQUIRE_MESSAGE(contents.ok(), contents.status().ToString());
  CHECK(contents->values == 20);
}

}  // namespace
}  // namespace dovetail::backup
