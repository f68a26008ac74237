#include "tests/sim/oracle_types.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <tuple>

namespace dovetail::oracle {
namespace {

// The code point of the UTF-8 sequence at the front, and its length; length 0
// if there is no well-formed one.
struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;
};

CodePoint FirstCodePoint(std::string_view in) {
  const auto lead = static_cast<unsigned char>(in.front());
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc0 || lead >= 0xf8 || in.size() < length) return {};
  uint32_t value = lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto tail = static_cast<unsigned char>(in[i]);
    if ((tail & 0xc0) != 0x80) return {};
    value = value << 6 | (tail & 0x3fu);
  }
  const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < least[length] || value > 0x10ffff || surrogate) return {};
  return {value, length};
}

std::string Escape(const char* format, unsigned value) {
  char text[16];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

// The letter of a two-character escape, or 0.
char NamedEscape(uint32_t value) {
  switch (value) {
    case '"':
    case '\\':
      return static_cast<char>(value);
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

// Bare where nothing can be mistaken, else quoted.
std::string Bare(const std::string& bytes) {
  constexpr char kBare[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:@/+-";
  const bool bare =
      !bytes.empty() && bytes.find_first_not_of(kBare) == std::string::npos;
  return bare ? bytes : Quoted(bytes);
}

std::string Braced(const std::vector<std::string>& shown) {
  std::string text = "{";
  for (const std::string& item : shown) {
    if (text.size() > 1) text += ", ";
    text += item;
  }
  return text + "}";
}

std::string Braced(const std::vector<std::string>& items,
                   std::string (*show)(const std::string&)) {
  std::vector<std::string> shown;
  for (const std::string& item : items) shown.push_back(show(item));
  return Braced(shown);
}

}  // namespace

void Require(bool holds, const char* rule) {
  if (holds) return;
  std::fprintf(stderr, "oracle: required: %s\n", rule);
  std::abort();
}

void Events::Insert(uint64_t actor, uint64_t first, uint64_t count) {
  Require(first >= 1 && count >= 1, "a run of events counts from 1");
  Run run{actor, first, first + count - 1};
  // The runs that overlap or touch the new one melt into it.
  auto begin = std::lower_bound(runs_.begin(), runs_.end(), run,
                                [](const Run& a, const Run& b) {
                                  return std::tie(a.actor, a.last) <
                                         std::make_tuple(b.actor, b.first - 1);
                                });
  auto end = begin;
  while (end != runs_.end() && end->actor == actor &&
         end->first <= run.last + 1) {
    run.first = std::min(run.first, end->first);
    run.last = std::max(run.last, end->last);
    ++end;
  }
  if (begin == end) {
    runs_.insert(begin, run);
  } else {
    *begin = run;
    runs_.erase(begin + 1, end);
  }
}

void Events::UnionWith(const Events& other) {
  for (const Run& run : other.runs_) {
    Insert(run.actor, run.first, run.last - run.first + 1);
  }
}

bool Events::Contains(uint64_t actor, uint64_t counter) const {
  auto it = std::lower_bound(
      runs_.begin(), runs_.end(), std::make_pair(actor, counter),
      [](const Run& run, const std::pair<uint64_t, uint64_t>& dot) {
        return std::tie(run.actor, run.last) < std::tie(dot.first, dot.second);
      });
  return it != runs_.end() && it->actor == actor && it->first <= counter;
}

const char* NameOf(Kind kind) {
  switch (kind) {
    case Kind::kRegister:
      return "register";
    case Kind::kMultiValue:
      return "mv";
    case Kind::kSet:
      return "set";
    case Kind::kRemoveSet:
      return "rwset";
    case Kind::kGrowSet:
      return "gset";
    case Kind::kEnableFlag:
      return "ewflag";
    case Kind::kDisableFlag:
      return "dwflag";
    case Kind::kCounter:
      return "counter";
    case Kind::kMap:
      return "map";
  }
  return "unknown";
}

std::string Quoted(const std::string& bytes) {
  std::string text = "\"";
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const CodePoint point = FirstCodePoint(rest);
    const auto lead = static_cast<unsigned char>(rest.front());
    if (point.length == 0) {
      text += Escape("\\udc%02x", lead);
    } else if (const char named = NamedEscape(point.value); named != 0) {
      text += {'\\', named};
    } else if (point.value < 0x20 || point.value == 0x7f) {
      text += Escape("\\u%04x", point.value);
    } else {
      text += rest.substr(0, point.length);
    }
    rest.remove_prefix(std::max<size_t>(point.length, 1));
  }
  return text + "\"";
}

std::string ToString(const View& view) {
  switch (view.kind) {
    case Kind::kRegister:
      return view.values.empty() ? "absent" : Quoted(view.values.front());
    case Kind::kMultiValue:
      return Braced(view.values, Quoted);
    case Kind::kSet:
    case Kind::kRemoveSet:
    case Kind::kGrowSet:
      return Braced(view.values, Bare);
    case Kind::kEnableFlag:
    case Kind::kDisableFlag:
      return view.flag ? "true" : "false";
    case Kind::kCounter:
      return std::to_string(view.number);
    case Kind::kMap:
      break;
  }
  std::vector<std::string> shown;
  for (const auto& [field, child] : view.fields) {
    shown.push_back(Bare(field.name) + ":" + NameOf(field.kind) + ": " +
                    ToString(child));
  }
  return Braced(shown);
}

std::string ToString(const Object& object) {
  return Bare(object.bucket) + "/" + Bare(object.key) + ":" +
         NameOf(object.kind);
}

}  // namespace dovetail::oracle
