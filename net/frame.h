// Cap'n Proto's stream framing, cut into frames by our own bounded code: how
// long is the next message, and may it be that long?
//
//   frame    = count-1:u32le size:u32le × count [ padding to 8 bytes ] segment…
//   size     = words of 8 bytes in that segment
//
// Everything is checked before memory is spent on it: the number of segments
// before the table of sizes is read, the sum of the sizes before the first byte
// of a segment is kept. The buffer of a frame grows with the bytes that have
// arrived, never with the length that was announced. There is no socket in
// here; fuzz/decode_frame.cc feeds it anything.
#ifndef DOVETAIL_NET_FRAME_H_
#define DOVETAIL_NET_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace dovetail::net {

// Segments of one frame. Builders double their segments, so 16 reach from 8 KiB
// far beyond any limit of size here.
inline constexpr uint32_t kSegmentsMax = 16;
// One frame between a client and a node: a delta, a page or a token at their
// limits (crdt/limits.h) with room for what stands around them.
inline constexpr size_t kClientFrameBytesMax = 4 << 20;
// One frame between nodes, where several messages share a frame.
inline constexpr size_t kPeerFrameBytesMax = 16 << 20;

// A whole frame, segment table included, aligned as Cap'n Proto wants it.
using FrameWords = std::vector<uint64_t>;

class FrameParser {
 public:
  explicit FrameParser(size_t frame_bytes_max)
      : frame_bytes_max_(frame_bytes_max) {}

  // Consumes bytes from the front of `in`, up to the end of one frame. Returns
  // the frame, or nullopt when `in` is used up before its end.
  // Errors, after which the stream is useless and every call returns the same:
  // InvalidArgument (no or too many segments, nothing in the first one),
  // ResourceExhausted (over `frame_bytes_max`).
  // Cost: O(bytes consumed).
  absl::StatusOr<std::optional<FrameWords>> Next(absl::string_view& in);

  // Whether the bytes so far end inside a frame: an end of the stream here has
  // cut one off.
  bool inside_frame() const { return filled_ > 0; }

 private:
  // Moves bytes from `in` until the frame has `want` of them; false: not yet.
  bool FillTo(size_t want, absl::string_view& in);
  absl::Status CheckCount();
  absl::Status CheckSizes();

  const size_t frame_bytes_max_;
  absl::Status error_;
  FrameWords words_;
  size_t filled_ = 0;       // bytes of words_ that have arrived
  size_t table_bytes_ = 0;  // 0: the count has not been read yet
  size_t frame_bytes_ = 0;  // 0: the table has not been read yet
};

// The table that stands in front of segments of these sizes, in words.
// Requires: 1..kSegmentsMax segments.
void AppendFrameTable(std::string& out, absl::Span<const size_t> segment_words);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_FRAME_H_
