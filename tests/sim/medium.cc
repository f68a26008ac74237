#include "tests/sim/medium.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_split.h"
#include "crdt/check.h"

namespace dovetail::sim {
namespace {

using Pointer = MediumNode::Pointer;

constexpr size_t kPageBytes = 4096;
constexpr size_t kSectorBytes = 512;

enum class Fate { kKept, kDropped, kTorn, kGarbage };

Fate DrawFate(UnsyncedPages pages, std::mt19937_64& random) {
  switch (pages) {
    case UnsyncedPages::kKeep:
      return Fate::kKept;
    case UnsyncedPages::kDrop:
      return Fate::kDropped;
    case UnsyncedPages::kTorn:
      return static_cast<Fate>(random() % 3);
    case UnsyncedPages::kGarbage:
      return static_cast<Fate>(random() % 4);
  }
  DOVETAIL_CHECK(false);
}

// Never the bytes that were there.
void Spoil(char* begin, const char* end, std::mt19937_64& random) {
  const bool one_bit = random() % 3 == 0;
  if (one_bit) begin += random() % static_cast<uint64_t>(end - begin);
  for (char* at = begin; at != end; ++at) {
    const auto noise = static_cast<char>(1 + random() % 255);
    *at = static_cast<char>(*at ^ noise);
    if (one_bit) return;
  }
}

MediumNode::Names NamesAfter(const MediumNode& node,
                             const PowerFailure& failure,
                             std::mt19937_64& random) {
  MediumNode after;
  after.names = node.synced_names;
  size_t left = node.changes.size();
  if (failure.names == UnsyncedNames::kDrop) left = 0;
  if (failure.names == UnsyncedNames::kPrefix) left = random() % (left + 1);
  for (size_t i = 0; i < left; ++i) {
    if (failure.names == UnsyncedNames::kAny && random() % 2 == 0) continue;
    after.Apply(node.changes[i]);
  }
  return after.names;
}

// A copy of the tree. `rebuild` fills a new node; it has the names already,
// with the old nodes behind them.
class Copier {
 public:
  using Rebuild = std::function<void(const MediumNode&, MediumNode&)>;
  explicit Copier(Rebuild rebuild) : rebuild_(std::move(rebuild)) {}

  Pointer Copy(const Pointer& node) {
    if (node == nullptr) return nullptr;
    Pointer& made = copies_[node.get()];
    if (made != nullptr) return made;
    made = std::make_shared<MediumNode>();
    made->is_directory = node->is_directory;
    rebuild_(*node, *made);
    for (MediumNode::Names* names : {&made->names, &made->synced_names}) {
      for (auto& [name, child] : *names) child = Copy(child);
    }
    for (MediumNode::Change& change : made->changes) {
      for (auto& [name, child] : change) child = Copy(child);
    }
    return made;
  }

 private:
  Rebuild rebuild_;
  std::map<const MediumNode*, Pointer> copies_;
};

}  // namespace

void MediumFile::Truncate(size_t size) {
  Own().resize(size);
  synced_ = std::min(synced_, size);
}

void MediumFile::Replace(std::string bytes) {
  bytes_ = std::make_shared<std::string>(std::move(bytes));
  synced_ = bytes_->size();
}

std::string& MediumFile::Own() {
  if (bytes_.use_count() > 1) bytes_ = std::make_shared<std::string>(*bytes_);
  return *bytes_;
}

MediumFile MediumFile::After(const PowerFailure& failure,
                             std::mt19937_64& random) const {
  MediumFile after;
  std::string left = *bytes_;
  size_t end = synced_;  // beyond it all is dropped
  for (size_t begin = synced_; begin < left.size();) {
    const size_t page_end =
        std::min((begin / kPageBytes + 1) * kPageBytes, left.size());
    size_t kept = page_end;
    switch (DrawFate(failure.pages, random)) {
      case Fate::kKept:
        break;
      case Fate::kDropped:
        kept = begin;
        break;
      case Fate::kTorn: {
        const size_t sectors = (page_end - begin) / kSectorBytes + 1;
        kept = (begin / kSectorBytes + random() % sectors) * kSectorBytes;
        kept = std::clamp(kept, begin, page_end);
        break;
      }
      case Fate::kGarbage:
        Spoil(left.data() + begin, left.data() + page_end, random);
        break;
    }
    // A hole, should a later page be there.
    std::fill(left.begin() + static_cast<ptrdiff_t>(kept),
              left.begin() + static_cast<ptrdiff_t>(page_end), '\0');
    if (kept > begin) end = kept;
    begin = page_end;
  }
  left.resize(end);
  after.Replace(std::move(left));
  return after;
}

void MediumNode::Apply(Change change) {
  for (const auto& [name, node] : change) {
    if (node == nullptr) {
      names.erase(name);
    } else {
      names[name] = node;
    }
  }
  changes.push_back(std::move(change));
}

void MediumNode::SyncNames() {
  synced_names = names;
  changes.clear();
}

Medium::Medium() : root_(std::make_shared<MediumNode>()) {
  root_->is_directory = true;
}

Medium::Medium(const Medium& other) {
  Copier copier([](const MediumNode& from, MediumNode& to) { to = from; });
  root_ = copier.Copy(other.root_);
}

Medium& Medium::operator=(const Medium& other) {
  if (this != &other) root_ = Medium(other).root_;
  return *this;
}

Pointer Medium::Find(absl::string_view path) const {
  Pointer node = root_;
  for (const absl::string_view name :
       absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (!node->is_directory) return nullptr;
    const auto found = node->names.find(name);
    if (found == node->names.end()) return nullptr;
    node = found->second;
  }
  return node;
}

std::pair<Pointer, std::string> Medium::FindParent(
    absl::string_view path) const {
  const std::vector<absl::string_view> names =
      absl::StrSplit(path, '/', absl::SkipEmpty());
  if (names.empty()) return {nullptr, ""};
  const absl::string_view last = names.back();
  const auto above = static_cast<size_t>(last.data() - path.data());
  Pointer parent = Find(path.substr(0, above));
  if (parent != nullptr && !parent->is_directory) parent = nullptr;
  return {parent, std::string(last)};
}

uint64_t Medium::bytes() const {
  uint64_t total = 0;
  Copier visitor([&total](const MediumNode& from, MediumNode& to) {
    total += from.file.bytes().size();
    to.names = from.names;
  });
  visitor.Copy(root_);
  return total;
}

Medium Medium::After(const PowerFailure& failure) const {
  std::mt19937_64 random(failure.seed);
  Copier copier([&](const MediumNode& from, MediumNode& to) {
    to.file = from.file.After(failure, random);
    to.names = NamesAfter(from, failure, random);
    to.synced_names = to.names;
  });
  Medium after;
  after.root_ = copier.Copy(root_);
  return after;
}

}  // namespace dovetail::sim
