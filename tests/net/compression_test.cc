#include "net/compression.h"

#include <doctest/doctest.h>
#include <zstd.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dovetail::net {
namespace {

// Text as messages are: alike, and not the same.
std::string SomeContent(std::mt19937_64& random, size_t bytes) {
  std::string content;
  while (content.size() < bytes) {
    absl::StrAppend(&content, "bucket/shop key/cart:", random() % 1000, ";");
  }
  content.resize(bytes);
  return content;
}

TEST_CASE("Compression: any batches come out as they went in") {
  const uint64_t seed = 4711;
  MESSAGE("seed " << seed);
  std::mt19937_64 random(seed);
  Compressor compressor;
  Expander expander;
  for (int i = 0; i < 300; ++i) {
    const size_t bytes =
        i == 0 ? 0 : random() % (i % 50 == 1 ? kBatchContentBytesMax : 4000);
    std::string content = SomeContent(random, bytes);
    if (i % 3 == 0) {  // nothing to gain
      for (char& byte : content) byte = static_cast<char>(random());
    }
    std::string batch, out;
    compressor.Compress(content, batch);
    REQUIRE(expander.Expand(batch, out).ok());
    REQUIRE(out == content);
  }
}

TEST_CASE("Compression: small batches gain by what was said before them") {
  std::mt19937_64 random(1);
  Compressor compressor;
  size_t in = 0;
  std::string out;
  for (int i = 0; i < 200; ++i) {
    const std::string content = SomeContent(random, 300);
    in += content.size();
    compressor.Compress(content, out);
  }
  CHECK(out.size() * 3 < in);
}

TEST_CASE("Compression: a small batch that means gigabytes is refused") {
  std::string bomb(ZSTD_compressBound(kBatchContentBytesMax + 1), '\0');
  const std::string zeros(kBatchContentBytesMax + 1, '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, kCompressionWindowLog);
  const size_t size = ZSTD_compress2(context, bomb.data(), bomb.size(),
                                     zeros.data(), zeros.size());
  ZSTD_freeCCtx(context);
  REQUIRE_FALSE(ZSTD_isError(size));
  CHECK(size < 10'000);
  bomb.resize(size);
  std::string out;
  CHECK(absl::IsResourceExhausted(Expander().Expand(bomb, out)));
}

TEST_CASE("Compression: a window larger than ours is refused") {
  const std::string content(1 << 20, 'x');
  std::string batch(ZSTD_compressBound(content.size()), '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 24);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  ZSTD_inBuffer in{content.data(), content.size(), 0};
  ZSTD_outBuffer out{batch.data(), batch.size(), 0};
  // Unlike compress2, it does not know how little there is.
  REQUIRE(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush) == 0);
  ZSTD_freeCCtx(context);
  batch.resize(out.pos);
  std::string expanded;
  CHECK(absl::IsResourceExhausted(Expander().Expand(batch, expanded)));
}

TEST_CASE("Compression: damage is an error or other content, never more") {
  const uint64_t seed = 815;
  MESSAGE("seed " << seed);
  std::mt19937_64 random(seed);
  std::string good;
  Compressor().Compress(SomeContent(random, 2000), good);
  int failed = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good;
    bad[random() % bad.size()] ^= static_cast<char>(1 << (random() % 8));
    std::string out;
    if (!Expander().Expand(bad, out).ok()) ++failed;
    CHECK(out.size() <= kBatchContentBytesMax + ZSTD_DStreamOutSize());
  }
  CHECK(failed > 100);
}

}  // namespace
}  // namespace dovetail::net
