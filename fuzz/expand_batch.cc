// Any bytes as batches of a compressed link: each is expanded within its limit,
// or the stream has ended with an error; and what a Compressor makes of them
// comes out as it went in.
#include <cstddef>
#include <cstdint>
#include <string>

#include "crdt/check.h"
#include "net/compression.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = 1 + data[0];
  const absl::string_view all(reinterpret_cast<const char*>(data) + 1,
                              size - 1);
  dovetail::net::Expander stranger;
  dovetail::net::Compressor compressor;
  dovetail::net::Expander expander;
  bool broken = false;
  for (size_t at = 0; at < all.size(); at += piece) {
    const absl::string_view batch = all.substr(at, piece);
    std::string out;
    if (!broken) {
      broken = !stranger.Expand(batch, out).ok();
      // One chunk more than the limit is written before it is noticed.
      DOVETAIL_CHECK(out.size() <=
                     dovetail::net::kBatchContentBytesMax + (256u << 10));
    }
    std::string compressed, again;
    compressor.Compress(batch, compressed);
    DOVETAIL_CHECK(expander.Expand(compressed, again).ok());
    DOVETAIL_CHECK(again == batch);
  }
  return 0;
}
