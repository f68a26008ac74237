#include "net/frame.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::net {
namespace {

constexpr size_t kWordBytes = 8;
static_assert(std::endian::native == std::endian::little,
              "segment tables are read and written in place");

uint32_t ReadU32(const FrameWords& words, size_t index) {
  uint32_t value = 0;
  std::memcpy(&value, reinterpret_cast<const char*>(words.data()) + 4 * index,
              sizeof(value));
  return value;
}

void AppendU32(std::string& out, uint32_t value) {
  char bytes[sizeof(value)];
  std::memcpy(bytes, &value, sizeof(value));
  out.append(bytes, sizeof(bytes));
}

}  // namespace

bool FrameParser::FillTo(size_t want, absl::string_view& in) {
  const size_t n = std::min(want - filled_, in.size());
  const size_t words = (filled_ + n + kWordBytes - 1) / kWordBytes;
  if (words > words_.size()) words_.resize(words);
  if (n > 0) {
    std::memcpy(reinterpret_cast<char*>(words_.data()) + filled_, in.data(), n);
  }
  filled_ += n;
  in.remove_prefix(n);
  return filled_ == want;
}

absl::Status FrameParser::CheckCount() {
  const uint32_t count_less_one = ReadU32(words_, 0);
  if (count_less_one >= kSegmentsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of ", uint64_t{count_less_one} + 1,
                     " segments; the limit is ", kSegmentsMax));
  }
  // The count itself and the sizes, rounded up to words.
  table_bytes_ = ((count_less_one + 1) / 2 + 1) * kWordBytes;
  return absl::OkStatus();
}

absl::Status FrameParser::CheckSizes() {
  const uint32_t count = ReadU32(words_, 0) + 1;
  uint64_t total = table_bytes_;
  for (uint32_t i = 0; i < count; ++i) {
    total += uint64_t{ReadU32(words_, 1 + i)} * kWordBytes;
  }
  if (total > frame_bytes_max_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a frame of ", total, " bytes; the limit is ", frame_bytes_max_));
  }
  if (ReadU32(words_, 1) == 0) {
    return absl::InvalidArgumentError("a frame whose first segment is empty");
  }
  frame_bytes_ = static_cast<size_t>(total);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<FrameWords>> FrameParser::Next(
    absl::string_view& in) {
  if (!error_.ok()) return error_;
  if (table_bytes_ == 0) {
    if (!FillTo(kWordBytes, in)) return std::nullopt;
    error_ = CheckCount();
    if (!error_.ok()) return error_;
  }
  if (frame_bytes_ == 0) {
    if (!FillTo(table_bytes_, in)) return std::nullopt;
    error_ = CheckSizes();
    if (!error_.ok()) return error_;
  }
  if (!FillTo(frame_bytes_, in)) return std::nullopt;
  FrameWords frame = std::exchange(words_, {});
  filled_ = table_bytes_ = frame_bytes_ = 0;
  return frame;
}

void AppendFrameTable(std::string& out,
                      absl::Span<const size_t> segment_words) {
  DOVETAIL_CHECK(!segment_words.empty());
  DOVETAIL_CHECK(segment_words.size() <= kSegmentsMax);
  AppendU32(out, static_cast<uint32_t>(segment_words.size() - 1));
  for (const size_t words : segment_words) {
    AppendU32(out, static_cast<uint32_t>(words));
  }
  if (segment_words.size() % 2 == 0) AppendU32(out, 0);
}

}  // namespace dovetail::net
