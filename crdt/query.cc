#include "crdt/query.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/counter.h"
#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "crdt/operation.h"
#include "crdt/page.h"
#include "crdt/register.h"

namespace dovetail::crdt {
namespace {

Type PlaceType(const ReadSpec& spec) {
  return spec.fields.empty() ? spec.object.type : spec.fields.back().type;
}

absl::Status CheckElement(const std::string& element) {
  if (element.size() <= kElementBytesMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("element is ", element.size(), " bytes; the limit is ",
                   kElementBytesMax, " (kElementBytesMax)"));
}

absl::Status Oversize(const ReadSpec& spec, const PageUnit& unit) {
  return absl::ResourceExhaustedError(absl::StrCat(
      ToString(spec.object), ": reading \"",
      DebugString(spec.object.type, unit.end), "\" takes more than ",
      kReplyBytesMax, " bytes (kReplyBytesMax); read its parts in pages"));
}

// The value of a place without children; an empty leaf if it is absent.
void ShowLeaf(View& view, const Leaf& leaf) {
  if (view.type == Type::kMap) return;
  view.present = IsVisible(view.type, leaf);
  switch (view.type) {
    case Type::kRegister:
      if (const Stamped* winner = WinnerOf(leaf)) {
        view.values = {winner->bytes};
      }
      return;
    case Type::kMultiValue:
      view.values = SiblingsOf(leaf);
      return;
    case Type::kEnableFlag:
      view.flag = !leaf.empty();
      return;
    case Type::kDisableFlag:
      view.flag = leaf.empty();
      return;
    case Type::kCounter:
      view.number = CounterValue(leaf);
      return;
    case Type::kSet:
    case Type::kRemoveSet:
    case Type::kGrowSet:
    case Type::kMap:
    case Type::kExpiry:
      return;
  }
}

Field TakeField(absl::string_view& rest) {
  std::optional<std::string> name = ConsumeEscaped(rest);
  DOVETAIL_CHECK(name.has_value() && !rest.empty());
  Field field{*std::move(name), static_cast<Type>(rest.front())};
  rest.remove_prefix(1);
  return field;
}

// Adds one visible leaf to the view of the place it lies under; `rest` is the
// leaf's path from there. Leaves come in path order, so what is under one
// field comes together.
void AddToView(View& root, absl::string_view rest, const Leaf& leaf) {
  View* view = &root;
  while (view->type == Type::kMap) {
    Field field = TakeField(rest);
    view->present = true;
    if (view->fields.empty() || view->fields.back().first != field) {
      View child;
      child.type = field.type;
      view->fields.emplace_back(std::move(field), std::move(child));
    }
    view = &view->fields.back().second;
  }
  if (HasElements(view->type)) {
    std::optional<std::string> element = ConsumeEscaped(rest);
    DOVETAIL_CHECK(element.has_value());
    view->present = true;
    view->values.push_back(*std::move(element));
  } else {
    ShowLeaf(*view, leaf);
  }
}

void Show(const ReadSpec& spec, const Path& place, const PageUnit& unit,
          View& view) {
  if (spec.element) {
    view.flag = view.present = unit.visible;
    return;
  }
  for (const auto& [path, leaf] : unit.leaves) {
    if (!IsVisible(LeafTypeOf(spec.object.type, path.bytes()), leaf)) continue;
    AddToView(view,
              absl::string_view(path.bytes()).substr(place.bytes().size()),
              leaf);
  }
}

}  // namespace

absl::Status Validate(const ReadSpec& spec) {
  DOVETAIL_RETURN_IF_ERROR(ValidateTarget(spec.object, spec.fields));
  const Type type = PlaceType(spec);
  if ((spec.element || spec.after_element) && !HasElements(type)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", TypeName(type), " has no elements"));
  }
  if (spec.element && spec.after_element) {
    return absl::InvalidArgumentError("one element and a page of elements");
  }
  if (spec.element) DOVETAIL_RETURN_IF_ERROR(CheckElement(*spec.element));
  if (spec.after_element) {
    DOVETAIL_RETURN_IF_ERROR(CheckElement(*spec.after_element));
  }
  if (spec.after_field) {
    if (type != Type::kMap) {
      return absl::InvalidArgumentError(
          absl::StrCat("a ", TypeName(type), " has no fields"));
    }
    std::vector<Field> fields = spec.fields;
    fields.push_back(*spec.after_field);
    DOVETAIL_RETURN_IF_ERROR(ValidateTarget(spec.object, fields));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReadResult> Query(StateView& state, const ReadSpec& spec,
                                 uint64_t now_ms) {
  DOVETAIL_RETURN_IF_ERROR(Validate(spec));
  const Path place = Path::OfFields(spec.fields);
  ReadResult result;
  result.view.type = PlaceType(spec);
  if (spec.want_token) {
    result.token = ObservedToken{
        spec.object, spec.element ? place.Element(*spec.element) : place, {}};
  }
  ShowLeaf(result.view, Leaf());  // what is read if nothing is there
  DOVETAIL_ASSIGN_OR_RETURN(const Leaf expiry,
                            state.Get(spec.object, Path::OfExpiry()));
  result.expires_ms = ExpiresMs(expiry);
  if (HasExpired(result.expires_ms, now_ms)) {
    DOVETAIL_MARK("expiry: a read finds that it is over");
    result.expired = true;
    return result;
  }
  if (result.token && result.token->scope.bytes().empty()) {
    result.token->Observe(Path::OfExpiry(), Type::kExpiry, expiry);
  }
  PageLimits page(spec, PageLimits::Mode::kShown);
  absl::Status status;
  DOVETAIL_RETURN_IF_ERROR(ForEachUnit(state, spec, [&](PageUnit&& unit) {
    if (!page.Admit(unit)) {
      DOVETAIL_MARK("query: the page is full");
      result.more = true;
      return false;
    }
    if (unit.oversize) {
      status = Oversize(spec, unit);
      return false;
    }
    Show(spec, place, unit, result.view);
    if (result.token) {
      for (const auto& [path, leaf] : unit.leaves) {
        result.token->Observe(path, LeafTypeOf(spec.object.type, path.bytes()),
                              leaf);
      }
    }
    return true;
  }));
  DOVETAIL_RETURN_IF_ERROR(status);
  return result;
}

namespace {

// A page may be a short one: of one unit, two, or a few. That is drawn once a
// page and not once a unit, or there would be hardly any others, and a read of
// a large object would come to hundreds of questions.
size_t UnitsMax() {
  if (!DOVETAIL_BUGGIFY("page: a short one")) return SIZE_MAX;
  size_t units = 1;
  while (DOVETAIL_BUGGIFY("page: a short one")) ++units;
  return units;
}

}  // namespace

absl::StatusOr<LeafPage> CollectPage(StateView& state, const ReadSpec& spec) {
  DOVETAIL_RETURN_IF_ERROR(Validate(spec));
  LeafPage result;
  DOVETAIL_ASSIGN_OR_RETURN(Leaf expiry,
                            state.Get(spec.object, Path::OfExpiry()));
  PageLimits page(spec, PageLimits::Mode::kBounded);
  absl::Status status;
  size_t units_left = UnitsMax();
  DOVETAIL_RETURN_IF_ERROR(ForEachUnit(state, spec, [&](PageUnit&& unit) {
    if (!page.Admit(unit) || units_left == 0) {
      DOVETAIL_MARK("page: it ends before the place does");
      result.truncated = true;
      return false;
    }
    if (unit.oversize) {
      status = Oversize(spec, unit);
      return false;
    }
    for (auto& [path, leaf] : unit.leaves) {
      result.leaves.Set(path, std::move(leaf));
    }
    --units_left;
    result.end = std::move(unit.end);
    return true;
  }));
  DOVETAIL_RETURN_IF_ERROR(status);
  if (!result.truncated) result.end = Path();
  if (!expiry.empty()) {
    result.leaves.Set(Path::OfExpiry(), std::move(expiry));
  }
  return result;
}

}  // namespace dovetail::crdt
