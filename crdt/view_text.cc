// ToString(View): the notation of scenarios and of the command line.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/query.h"
#include "crdt/text.h"

namespace dovetail::crdt {
namespace {

std::string Braced(const std::vector<std::string>& items,
                   std::string (*show)(absl::string_view)) {
  return absl::StrCat(
      "{",
      absl::StrJoin(items, ", ",
                    [show](std::string* out, const std::string& item) {
                      *out += show(item);
                    }),
      "}");
}

}  // namespace

std::string ToString(const View& view) {
  switch (view.type) {
    case Type::kRegister:
      return view.values.empty() ? "absent" : QuoteJson(view.values.front());
    case Type::kMultiValue:
      return Braced(view.values, QuoteJson);
    case Type::kSet:
    case Type::kRemoveSet:
    case Type::kGrowSet:
      return Braced(view.values, Word);
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      return view.flag ? "true" : "false";
    case Type::kCounter:
      return absl::StrCat(view.number);
    case Type::kMap:
      return absl::StrCat(
          "{",
          absl::StrJoin(view.fields, ", ",
                        [](std::string* out, const auto& entry) {
                          const auto& [field, child] = entry;
                          absl::StrAppend(out, Word(field.name), ":",
                                          TypeName(field.type), ": ",
                                          ToString(child));
                        }),
          "}");
    case Type::kExpiry:
      break;
  }
  return "unknown";
}

}  // namespace dovetail::crdt
