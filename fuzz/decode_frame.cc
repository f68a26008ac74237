// Any bytes, in any pieces: FrameParser returns frames within its limits or one
// error, the same however the bytes are split, and keeps no more than it got.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "crdt/check.h"
#include "net/frame.h"

namespace {

constexpr size_t kFrameBytesMax = 1 << 16;

struct Outcome {
  std::string frames;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

Outcome Run(absl::string_view wire, size_t piece) {
  Outcome outcome;
  dovetail::net::FrameParser parser(kFrameBytesMax);
  while (!wire.empty()) {
    absl::string_view part = wire.substr(0, piece);
    wire.remove_prefix(part.size());
    while (true) {
      auto frame = parser.Next(part);
      if (!frame.ok()) {
        outcome.error = frame.status().ToString();
        return outcome;
      }
      if (!frame->has_value()) break;
      const size_t bytes = 8 * (*frame)->size();
      DOVETAIL_CHECK(bytes <= kFrameBytesMax);
      outcome.frames.append(reinterpret_cast<const char*>((*frame)->data()),
                            bytes);
    }
    DOVETAIL_CHECK(part.empty());
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = 1 + data[0] % 32;
  const absl::string_view wire(reinterpret_cast<const char*>(data) + 1,
                               size - 1);
  DOVETAIL_CHECK(Run(wire, piece) == Run(wire, wire.size() + 1));
  return 0;
}
