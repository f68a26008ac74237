// What goes to another region is compressed: one zstd stream for each direction
// of a connection, flushed with each batch, so that what is alike in messages
// (names of buckets and keys, actors) is said once and then referred to.
//
// Memory: about 1 MiB at the sender and 0.2 MiB at the receiver of a
// connection, by the window below.
#ifndef DOVETAIL_NET_COMPRESSION_H_
#define DOVETAIL_NET_COMPRESSION_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace dovetail::net {

// Level 1: what more levels gain on small batches is not worth their time
// (docs/benchmarks.md).
inline constexpr int kCompressionLevel = 1;
// How far back a stream refers, as a power of two: 128 KiB, some batches.
inline constexpr int kCompressionWindowLog = 17;
// Content of one batch. What a receiver expands at once is bounded by it.
inline constexpr size_t kBatchContentBytesMax = 1 << 20;

class Compressor {
 public:
  Compressor();
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  // Appends to `out` what an Expander that was given all before makes `in` of.
  // Requires: at most kBatchContentBytesMax.
  void Compress(absl::string_view in, std::string& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Expander {
 public:
  Expander();
  ~Expander();
  Expander(const Expander&) = delete;
  Expander& operator=(const Expander&) = delete;

  // Appends the content of one batch to `out`. Errors, after which the stream
  // is useless: InvalidArgument (no such stream, or cut short),
  // ResourceExhausted (over kBatchContentBytesMax, or a larger window).
  absl::Status Expand(absl::string_view in, std::string& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_COMPRESSION_H_
