// How byte strings are shown to people: bare where nothing can be mistaken,
// else as a JSON string.
#ifndef DOVETAIL_CRDT_TEXT_H_
#define DOVETAIL_CRDT_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace dovetail::crdt {

// Whether `bytes` are well-formed UTF-8: no overlong forms, no surrogates.
bool IsUtf8(absl::string_view bytes);

// As a JSON string with its quotes. Bytes that are not UTF-8 become \udcXX,
// which no valid text contains, so that different bytes look different.
std::string QuoteJson(absl::string_view bytes);

// As it is if it is made of [A-Za-z0-9_.:@/+-] only and not empty, else quoted.
std::string Word(absl::string_view bytes);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_TEXT_H_
