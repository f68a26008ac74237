#include "net/frame.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace dovetail::net {
namespace {

// A frame as the wire has it; the words of segment i are all i+1.
std::string Frame(const std::vector<size_t>& segment_words) {
  std::string bytes;
  AppendFrameTable(bytes, segment_words);
  for (size_t i = 0; i < segment_words.size(); ++i) {
    const uint64_t word = i + 1;
    for (size_t w = 0; w < segment_words[i]; ++w) {
      bytes.append(reinterpret_cast<const char*>(&word), sizeof(word));
    }
  }
  return bytes;
}

std::string Bytes(const FrameWords& words) {
  return std::string(reinterpret_cast<const char*>(words.data()),
                     8 * words.size());
}

std::string U32(uint32_t value) {
  return std::string(reinterpret_cast<const char*>(&value), 4);
}

TEST_CASE("FrameParser: a frame arrives whole wherever reads split it") {
  for (const auto& sizes : std::vector<std::vector<size_t>>{
           {1}, {3}, {1, 2}, {1, 0, 5}, std::vector<size_t>(16, 2)}) {
    const std::string wire = Frame(sizes) + Frame({2});
    for (size_t split = 0; split <= wire.size(); ++split) {
      FrameParser parser(1 << 20);
      std::vector<std::string> frames;
      for (absl::string_view part : {absl::string_view(wire).substr(0, split),
                                     absl::string_view(wire).substr(split)}) {
        while (true) {
          auto frame = parser.Next(part);
          REQUIRE(frame.ok());
          if (!frame->has_value()) break;
          frames.push_back(Bytes(**frame));
        }
        CHECK(part.empty());
      }
      CHECK_FALSE(parser.inside_frame());
      REQUIRE(frames.size() == 2);
      CHECK(frames[0] == Frame(sizes));
      CHECK(frames[1] == Frame({2}));
    }
  }
}

TEST_CASE("FrameParser: byte by byte, it knows whether a frame is cut off") {
  const std::string wire = Frame({2, 1});
  FrameParser parser(1 << 20);
  for (size_t i = 0; i < wire.size(); ++i) {
    CHECK(parser.inside_frame() == (i > 0));
    absl::string_view one = absl::string_view(wire).substr(i, 1);
    auto frame = parser.Next(one);
    REQUIRE(frame.ok());
    CHECK(frame->has_value() == (i + 1 == wire.size()));
  }
  CHECK_FALSE(parser.inside_frame());
}

TEST_CASE("FrameParser: too many segments are refused before their table") {
  for (uint32_t count_less_one :
       {16u, 17u, 511u, 0x7FFFFFFFu, 0xFFFFFFFEu, 0xFFFFFFFFu}) {
    FrameParser parser(1 << 20);
    const std::string wire = U32(count_less_one) + U32(1);
    absl::string_view in = wire;
    CHECK(parser.Next(in).status().code() ==
          absl::StatusCode::kInvalidArgument);
    // The error stays.
    const std::string good = Frame({1});
    absl::string_view more = good;
    CHECK_FALSE(parser.Next(more).ok());
  }
}

TEST_CASE("FrameParser: the limit of size holds to the byte") {
  const std::string wire = Frame({10});
  FrameParser exact(wire.size());
  absl::string_view in = wire;
  auto frame = exact.Next(in);
  REQUIRE(frame.ok());
  CHECK(frame->has_value());

  FrameParser tight(wire.size() - 1);
  in = wire;
  CHECK(tight.Next(in).status().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("FrameParser: sizes whose sum overflows 32 bits are refused") {
  std::string wire = U32(15);
  for (int i = 0; i < 16; ++i) wire += U32(0xFFFFFFFF);
  wire += U32(0);
  FrameParser parser(size_t{16} << 20);
  absl::string_view in = wire;
  const auto frame = parser.Next(in);
  CHECK(frame.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(frame.status().message().find("549755813832") !=
        absl::string_view::npos);
}

TEST_CASE("FrameParser: a frame without a root is refused") {
  FrameParser parser(1 << 20);
  const std::string wire = Frame({0, 3});
  absl::string_view in = wire;
  CHECK(parser.Next(in).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("FrameParser: a long frame announced and not sent costs nothing") {
  FrameParser parser(size_t{1} << 40);
  const std::string wire = U32(0) + U32(0xFFFFFFFF) + "only this arrives";
  absl::string_view in = wire;
  auto frame = parser.Next(in);  // would not survive allocating 32 GiB
  REQUIRE(frame.ok());
  CHECK_FALSE(frame->has_value());
  CHECK(parser.inside_frame());
}

TEST_CASE("FrameParser: any bytes, split anywhere, give frames or one error") {
  const uint32_t seed = 20260711;
  MESSAGE("seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string wire;
    for (uint64_t i = random() % 4; i > 0; --i) {
      wire += Frame({1 + random() % 5, random() % 5});
    }
    for (uint64_t i = random() % 3; i > 0 && !wire.empty(); --i) {
      wire[random() % wire.size()] = static_cast<char>(random());
    }
    // Reference: all bytes at once.
    const auto run = [&](auto&& next_size) {
      FrameParser parser(4096);
      std::string seen;
      for (size_t at = 0; at < wire.size();) {
        const size_t n = std::min(wire.size() - at, next_size());
        absl::string_view part = absl::string_view(wire).substr(at, n);
        at += n;
        while (true) {
          auto frame = parser.Next(part);
          if (!frame.ok()) return seen + frame.status().ToString();
          if (!frame->has_value()) break;
          seen += Bytes(**frame) + "|";
        }
      }
      return seen;
    };
    const std::string whole = run([&] { return wire.size(); });
    CHECK(whole == run([&]() -> size_t { return 1 + random() % 9; }));
  }
}

}  // namespace
}  // namespace dovetail::net
