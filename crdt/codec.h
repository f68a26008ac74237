// The canonical byte codec: equal values have equal bytes, and every other
// byte string is refused. The grammar of everything built on it stands in
// docs/formats.md.
//
//   varint   LEB128 of a uint64, shortest form only
//   fixed64  8 bytes, big-endian
//   bytes    varint length, then that many bytes
//
// A Reader never allocates more than it has been given bytes for, and its
// first error sticks: read on, then look at status() once.
#ifndef DOVETAIL_CRDT_CODEC_H_
#define DOVETAIL_CRDT_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace dovetail::crdt {

// Starts every encoded delta, token, context and row value.
inline constexpr uint8_t kCodecVersion = 1;

inline constexpr size_t kVarintBytesMax = 10;

class Writer {
 public:
  // `out` must outlive the writer; bytes are appended.
  explicit Writer(std::string* out) : out_(*out) {}
  void Byte(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void Varint(uint64_t value) {
    // Nearly all are short: lengths and counts.
    if (value < 0x80) return Byte(static_cast<uint8_t>(value));
    LongVarint(value);
  }
  void Fixed64(uint64_t value);
  void Bytes(absl::string_view value);
  void Raw(absl::string_view value) { out_.append(value.data(), value.size()); }

 private:
  void LongVarint(uint64_t value);

  std::string& out_;
};

class Reader {
 public:
  // `in` must outlive the reader and what Bytes() returned.
  explicit Reader(absl::string_view in) : in_(in) {}

  uint8_t Byte();
  uint64_t Varint();
  uint64_t Fixed64();
  // At most `bytes_max` bytes; longer is an error.
  absl::string_view Bytes(size_t bytes_max);
  // A count of items that take at least `item_bytes_min` each: one that cannot
  // fit in what is left is refused, so a caller may reserve for it.
  size_t Count(size_t item_bytes_min);
  void ExpectVersion();

  // Records "at byte N: why" unless an error is there already.
  void Fail(absl::string_view why);
  bool ok() const { return status_.ok(); }
  size_t remaining() const { return in_.size() - at_; }
  // The first error (InvalidArgument), or one for bytes left over.
  absl::Status Finish();
  const absl::Status& status() const { return status_; }

 private:
  absl::string_view in_;
  size_t at_ = 0;
  absl::Status status_;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_CODEC_H_
