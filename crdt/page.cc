#include "crdt/page.h"

#include "crdt/check.h"
#include "crdt/dot_codec.h"
#include "crdt/limits.h"
#include "crdt/register.h"

namespace dovetail::crdt {
namespace {

// Names, dots and lengths around what is shown of a leaf.
constexpr size_t kLeafOverheadBytes = 16;
// A field in an answer beside its name: itself and the frame of its value.
// Many small fields would otherwise outgrow a reply (net/dovetail.capnp).
constexpr size_t kFieldOverheadBytes = 96;
constexpr size_t kTallyBytesMax = 40;
// Version, object and scope of a token.
constexpr size_t kTokenHeadBytesMax = 16 << 10;
static_assert(kTokenHeadBytesMax > kBucketBytesMax + kKeyBytesMax);

size_t ShownBytes(Type leaf_type, const Leaf& leaf) {
  if (leaf_type == Type::kRegister) {
    const Stamped* winner = WinnerOf(leaf);
    return winner == nullptr ? 0 : winner->bytes.size();
  }
  size_t bytes = 0;
  if (leaf_type == Type::kMultiValue) {
    for (const auto& [dot, payload] : leaf.entries()) {
      bytes += std::get<Value>(payload).bytes.size();
    }
  }
  return bytes;
}

// The bytes of the field at the front of `path` after `place`.
size_t FieldBytes(const Path& place, const Path& path) {
  const absl::string_view all = path.bytes();
  absl::string_view rest = all.substr(place.bytes().size());
  DOVETAIL_CHECK(ConsumeEscaped(rest).has_value() && !rest.empty());
  return all.size() - rest.size() + 1;
}

// The end of the unit that the leaf at `path` belongs to.
Path UnitEnd(Type place_type, const Path& place, const Path& path) {
  if (place_type == Type::kMap) {
    return Path::FromTrustedBytes(
        path.bytes().substr(0, FieldBytes(place, path)));
  }
  return HasElements(place_type) ? path : place;
}

// Fields and element of a path: each ends in 00 01, which occurs nowhere else.
size_t ComponentsOf(const Path& path) {
  constexpr absl::string_view kEnd("\0\1", 2);
  const absl::string_view bytes = path.bytes();
  size_t count = 0;
  for (size_t at = bytes.find(kEnd); at != absl::string_view::npos;
       at = bytes.find(kEnd, at + kEnd.size())) {
    ++count;
  }
  return count;
}

void AddLeaf(PageUnit& unit, Type place_type, Type leaf_type, const Path& path,
             const Leaf& leaf) {
  unit.visible = unit.visible || IsVisible(leaf_type, leaf);
  unit.bytes +=
      path.bytes().size() + ShownBytes(leaf_type, leaf) + kLeafOverheadBytes;
  if (place_type == Type::kMap) {
    unit.bytes += kFieldOverheadBytes * ComponentsOf(path);
  }
  const size_t dot_bytes =
      kDotBytesMax + (leaf_type == Type::kCounter ? kTallyBytesMax : 0);
  unit.token_bytes +=
      path.bytes().size() + kLeafOverheadBytes + dot_bytes * leaf.size();
  unit.oversize = unit.bytes > kReplyBytesMax;
  unit.leaves.emplace_back(path, leaf);
}

Path PageStart(const ReadSpec& spec, const Path& place) {
  if (spec.after_element) return place.Element(*spec.after_element);
  if (spec.after_field) return place.ChildField(*spec.after_field);
  return Path();
}

}  // namespace

absl::Status ForEachUnit(StateView& state, const ReadSpec& spec,
                         absl::FunctionRef<bool(PageUnit&&)> visit) {
  const Path place = Path::OfFields(spec.fields);
  const Type place_type =
      spec.fields.empty() ? spec.object.type : spec.fields.back().type;
  PageUnit unit;
  if (spec.element) {
    unit.end = place.Element(*spec.element);
    DOVETAIL_ASSIGN_OR_RETURN(const Leaf leaf,
                              state.Get(spec.object, unit.end));
    if (!leaf.empty()) AddLeaf(unit, place_type, place_type, unit.end, leaf);
    if (!unit.leaves.empty()) visit(std::move(unit));
    return absl::OkStatus();
  }
  bool go_on = true;
  DOVETAIL_RETURN_IF_ERROR(state.Scan(
      spec.object, place, PageStart(spec, place),
      [&](const Path& path, const Leaf& leaf) {
        if (path.IsExpiry()) return true;  // no part of the value
        // Within a field there is no need to look for the field's end again.
        const bool same = !unit.leaves.empty() && path.HasPrefix(unit.end);
        if (!same) {
          if (!unit.leaves.empty()) go_on = visit(std::move(unit));
          if (!go_on) return false;
          unit = PageUnit();
          unit.end = UnitEnd(place_type, place, path);
        }
        const Type leaf_type = LeafTypeOf(spec.object.type, path.bytes());
        AddLeaf(unit, place_type, leaf_type, path, leaf);
        return !unit.oversize;
      }));
  if (go_on && !unit.leaves.empty()) visit(std::move(unit));
  return absl::OkStatus();
}

PageLimits::PageLimits(const ReadSpec& spec, Mode mode)
    : limit_(spec.limit), want_token_(spec.want_token), mode_(mode) {}

bool PageLimits::Admit(const PageUnit& unit) {
  const uint64_t so_far = mode_ == Mode::kShown ? visible_ : units_;
  if (so_far > 0) {
    const bool full = (limit_ > 0 && unit.visible && visible_ == limit_) ||
                      bytes_ + unit.bytes > kReplyBytesMax ||
                      (want_token_ && token_bytes_ + unit.token_bytes >
                                          kTokenBytesMax - kTokenHeadBytesMax);
    if (full) return false;
  }
  ++units_;
  visible_ += unit.visible ? 1 : 0;
  bytes_ += unit.bytes;
  token_bytes_ += unit.token_bytes;
  return true;
}

}  // namespace dovetail::crdt
