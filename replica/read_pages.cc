// ReadCoordinator: the pages of leaves that answers are made of. They are taken
// here, checked, joined, and passed over where nothing of them is left.
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"
#include "replica/hash.h"
#include "replica/read_coordinator.h"

namespace dovetail::replica {

using crdt::LeafPage;

namespace {

// Up to so many elements or fields a page grows by itself; as many as fit into
// a reply come to less, if they are not tiny.
constexpr uint64_t kPassOverLimitMax = 1 << 16;

// `spec` from after the unit that a page of it ended with.
crdt::ReadSpec SpecAfter(crdt::ReadSpec spec, const crdt::Path& end) {
  absl::string_view rest = end.bytes();
  rest.remove_prefix(crdt::Path::OfFields(spec.fields).bytes().size());
  std::optional<std::string> name = crdt::ConsumeEscaped(rest);
  DOVETAIL_CHECK(name.has_value());
  const crdt::Type type =
      spec.fields.empty() ? spec.object.type : spec.fields.back().type;
  if (crdt::HasElements(type)) {
    spec.after_element = *std::move(name);
  } else {
    DOVETAIL_CHECK(type == crdt::Type::kMap && !rest.empty());
    spec.after_field =
        crdt::Field{*std::move(name), static_cast<crdt::Type>(rest.front())};
  }
  return spec;
}

// A page that grows by those of others. `known`: all that the owners of the
// pages so far know of.
struct Joined {
  LeafPage page;
  crdt::EventSet known;

  [[nodiscard]] crdt::JoinResult Add(const LeafPage& theirs,
                                     const crdt::Context& context) {
    if (theirs.truncated && (!page.truncated || theirs.end < page.end)) {
      page.truncated = true;
      page.end = theirs.end;
    }
    const crdt::JoinResult result =
        crdt::Join(page.leaves, known, theirs.leaves, context);
    known.UnionWith(context.applied);
    known.UnionWith(context.superseded);
    return result;
  }

  // Takes away what only some have said something about.
  void CutAtEnd() {
    if (!page.truncated) return;
    DOVETAIL_MARK("read: the joined page ends at the least end");
    crdt::Store cut;
    for (const auto& [path, leaf] : page.leaves.children()) {
      if (page.Covers(path)) cut.Set(path, leaf);
    }
    page.leaves = std::move(cut);
  }
};

}  // namespace

Hash128 DigestOf(crdt::Type type, const LeafPage& page) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(page.truncated ? 1 : 0);
  out.Bytes(page.truncated ? page.end.bytes() : std::string());
  for (const auto& [path, leaf] : page.leaves.children()) {
    out.Bytes(path.bytes());
    crdt::AppendLeaf(out, crdt::LeafTypeOf(type, path.bytes()), leaf);
  }
  return HashBytes(bytes);
}

// A page is a peer's word: before anything trusts its paths, each must be that
// of a leaf of the object, with payloads of that leaf's type.
absl::Status CheckPage(crdt::Type type, const LeafPage& page) {
  for (const auto& [path, leaf] : page.leaves.children()) {
    absl::StatusOr<crdt::ParsedPath> parsed =
        crdt::ParseLeafPath(type, path.bytes());
    if (!parsed.ok()) return parsed.status();
    for (const crdt::Leaf::Entry& entry : leaf.entries()) {
      if (!crdt::PayloadMatches(parsed->leaf_type, entry.second)) {
        return absl::InvalidArgumentError(
            "a peer answered with a payload of another type");
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<LeafPage> ReadCoordinator::LocalPage(
    PartitionId partition, const crdt::ReadSpec& spec) {
  Partition& mine = core_.Get(partition);
  DOVETAIL_RETURN_IF_ERROR(core_.MayAnswer(partition));
  absl::StatusOr<LeafPage> page = crdt::CollectPage(mine.view(), spec);
  if (!page.ok() && absl::IsDataLoss(page.status())) {
    ++core_.stats.corruptions;
    mine.Note(page.status());
  }
  return page;
}

absl::StatusOr<LeafPage> ReadCoordinator::JoinPages(const Job& job) {
  // The local page anew: it and the context it is joined under must be of one
  // moment, and replicas only grow.
  Joined joined;
  DOVETAIL_ASSIGN_OR_RETURN(joined.page, LocalPage(job.partition, job.spec));
  const crdt::Context& mine = core_.Get(job.partition).context();
  joined.known = mine.applied;
  joined.known.UnionWith(mine.superseded);
  if (DOVETAIL_MUTANT("read: joins without contexts")) joined.known = {};
  crdt::JoinResult result = crdt::JoinResult::kOk;
  // Theirs was the same as the page at the start, not as the one of now.
  if (job.same && !DOVETAIL_MUTANT("read: \"the same\" says nothing more")) {
    result = joined.Add(job.page, *job.same);
  }
  for (const auto& [peer, answer] : job.different) {
    if (result == crdt::JoinResult::kDotReuse) break;
    result = joined.Add(answer.page, answer.context);
  }
  if (result == crdt::JoinResult::kDotReuse) {
    ++core_.stats.corruptions;
    return absl::DataLossError(
        absl::StrCat("replicas disagree about the payload of one dot of ",
                     crdt::ToString(job.spec.object)));
  }
  joined.CutAtEnd();
  return std::move(joined.page);
}

// All of this page is deleted somewhere. An empty page would leave the client
// without a place to go on from, so the read goes on by itself: with pages of
// twice the size each time, or a read of one element would take a round for
// each of a million that some replica has not seen removed yet.
void ReadCoordinator::PassOver(Jobs::iterator it, const LeafPage& page) {
  Job rest = std::move(it->second);
  EraseJob(it, rest);
  if (rest.session) rest.session->passed_over = TokenOf(rest, page)->events;
  rest.spec = SpecAfter(std::move(rest.spec), page.end);
  if (rest.spec.limit < kPassOverLimitMax &&
      !DOVETAIL_MUTANT("read: passes over one page like the other")) {
    rest.spec.limit *= 2;
  }
  Launch(std::move(rest));
}

}  // namespace dovetail::replica
