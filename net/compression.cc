#include "net/compression.h"

#include <zstd.h>
#include <zstd_errors.h>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::net {

struct Compressor::State {
  State() : context(ZSTD_createCCtx()) {
    DOVETAIL_CHECK(context != nullptr);
    Set(ZSTD_c_compressionLevel, kCompressionLevel);
    Set(ZSTD_c_windowLog, kCompressionWindowLog);
  }
  ~State() { ZSTD_freeCCtx(context); }
  void Set(ZSTD_cParameter parameter, int value) {
    DOVETAIL_CHECK(
        !ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)));
  }
  ZSTD_CCtx* const context;
};

Compressor::Compressor() : state_(std::make_unique<State>()) {}
Compressor::~Compressor() = default;

void Compressor::Compress(absl::string_view in, std::string& out) {
  DOVETAIL_CHECK(in.size() <= kBatchContentBytesMax);
  ZSTD_inBuffer input{in.data(), in.size(), 0};
  size_t left = 0;
  do {
    const size_t begin = out.size();
    out.resize(begin + ZSTD_CStreamOutSize());
    ZSTD_outBuffer output{out.data() + begin, out.size() - begin, 0};
    left = ZSTD_compressStream2(state_->context, &output, &input, ZSTD_e_flush);
    // It can only want memory.
    DOVETAIL_CHECK(!ZSTD_isError(left));
    out.resize(begin + output.pos);
  } while (left > 0);
  DOVETAIL_CHECK(input.pos == input.size);
}

struct Expander::State {
  State() : context(ZSTD_createDCtx()) {
    DOVETAIL_CHECK(context != nullptr);
    DOVETAIL_CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(
        context, ZSTD_d_windowLogMax, kCompressionWindowLog)));
  }
  ~State() { ZSTD_freeDCtx(context); }
  ZSTD_DCtx* const context;
  std::string chunk = std::string(ZSTD_DStreamOutSize(), '\0');
};

Expander::Expander() : state_(std::make_unique<State>()) {}
Expander::~Expander() = default;

absl::Status Expander::Expand(absl::string_view in, std::string& out) {
  ZSTD_inBuffer input{in.data(), in.size(), 0};
  size_t content = 0;
  while (true) {
    ZSTD_outBuffer output{state_->chunk.data(), state_->chunk.size(), 0};
    const size_t result =
        ZSTD_decompressStream(state_->context, &output, &input);
    if (ZSTD_isError(result)) {
      const std::string why =
          absl::StrCat("compressed batch: ", ZSTD_getErrorName(result));
      return ZSTD_getErrorCode(result) ==
                     ZSTD_error_frameParameter_windowTooLarge
                 ? absl::ResourceExhaustedError(why)
                 : absl::InvalidArgumentError(why);
    }
    content += output.pos;
    if (content > kBatchContentBytesMax) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "a compressed batch of more than ", kBatchContentBytesMax, " bytes"));
    }
    out.append(state_->chunk.data(), output.pos);
    // All is out when a full chunk was not needed.
    if (input.pos == input.size && output.pos < output.size) break;
  }
  return absl::OkStatus();
}

}  // namespace dovetail::net
