#include "crdt/codec.h"

#include "absl/strings/str_cat.h"

namespace dovetail::crdt {

void Writer::LongVarint(uint64_t value) {
  char bytes[kVarintBytesMax];
  size_t size = 0;
  while (value >= 0x80) {
    bytes[size++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  bytes[size++] = static_cast<char>(value);
  out_.append(bytes, size);
}

void Writer::Fixed64(uint64_t value) {
  char bytes[8];
  for (size_t i = 0; i < sizeof bytes; ++i) {
    bytes[i] = static_cast<char>(value >> (56 - 8 * i));
  }
  out_.append(bytes, sizeof bytes);
}

void Writer::Bytes(absl::string_view value) {
  Varint(value.size());
  Raw(value);
}

uint8_t Reader::Byte() {
  if (!ok()) return 0;
  if (remaining() == 0) {
    Fail("ends where a byte is due");
    return 0;
  }
  return static_cast<uint8_t>(in_[at_++]);
}

uint64_t Reader::Varint() {
  if (!ok()) return 0;
  uint64_t value = 0;
  for (size_t i = 0; i < kVarintBytesMax; ++i) {
    if (remaining() == i) {
      Fail("ends inside a varint");
      return 0;
    }
    const auto byte = static_cast<uint8_t>(in_[at_ + i]);
    if (i == kVarintBytesMax - 1 && byte > 1) break;
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      if (i > 0 && byte == 0) {
        Fail("varint is not in its shortest form");
        return 0;
      }
      at_ += i + 1;
      return value;
    }
  }
  Fail("varint does not fit 64 bits");
  return 0;
}

uint64_t Reader::Fixed64() {
  if (!ok()) return 0;
  if (remaining() < 8) {
    Fail("ends inside a fixed64");
    return 0;
  }
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) {
    value = value << 8 | static_cast<uint8_t>(in_[at_ + i]);
  }
  at_ += 8;
  return value;
}

absl::string_view Reader::Bytes(size_t bytes_max) {
  const uint64_t size = Varint();
  if (!ok()) return {};
  if (size > bytes_max) {
    Fail(absl::StrCat("string is ", size, " bytes; the limit is ", bytes_max));
    return {};
  }
  if (size > remaining()) {
    Fail("ends inside a string");
    return {};
  }
  const absl::string_view bytes = in_.substr(at_, size);
  at_ += size;
  return bytes;
}

size_t Reader::Count(size_t item_bytes_min) {
  const uint64_t count = Varint();
  if (!ok()) return 0;
  if (item_bytes_min > 0 && count > remaining() / item_bytes_min) {
    Fail(absl::StrCat("count ", count, " does not fit the bytes left"));
    return 0;
  }
  return static_cast<size_t>(count);
}

void Reader::ExpectVersion() {
  const uint8_t version = Byte();
  if (ok() && version != kCodecVersion) {
    --at_;
    Fail(absl::StrCat("version is ", version, ", not ", kCodecVersion));
  }
}

void Reader::Fail(absl::string_view why) {
  if (!status_.ok()) return;
  status_ =
      absl::InvalidArgumentError(absl::StrCat("at byte ", at_, ": ", why));
}

absl::Status Reader::Finish() {
  if (ok() && remaining() > 0) {
    Fail(absl::StrCat(remaining(), " bytes left over"));
  }
  return status_;
}

}  // namespace dovetail::crdt
