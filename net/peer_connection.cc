#include "net/peer_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/detail/socket_option.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "net/peer_codec.h"

namespace dovetail::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using UserTimeout =
    asio::detail::socket_option::integer<IPPROTO_TCP, TCP_USER_TIMEOUT>;

// A buffer that has grown beyond this is given back when it is empty.
constexpr size_t kKeptBufferBytes = 1 << 20;

}  // namespace

PeerConnection::PeerConnection(EventLoop& loop, Socket socket,
                               size_t queue_bytes_max)
    : loop_(loop),
      socket_(std::move(socket)),
      queue_bytes_max_(queue_bytes_max) {}

void PeerConnection::Start(size_t frame_bytes_max, absl::Duration unacked_max,
                           Callbacks callbacks) {
  callbacks_ = std::move(callbacks);
  parser_.emplace(frame_bytes_max);
  error_code ignored;  // without it silence is found all the same, later
  socket_.set_option(
      UserTimeout(static_cast<int>(absl::ToInt64Milliseconds(unacked_max))),
      ignored);
  Read();
}

void PeerConnection::AllowFrames(size_t frame_bytes_max) {
  parser_.emplace(frame_bytes_max);
}

void PeerConnection::Read() {
  socket_.async_read_some(
      asio::buffer(read_buffer_),
      [self = shared_from_this()](const error_code& error, size_t bytes) {
        if (!self->open_) return;
        if (error) {
          return self->Fail(absl::UnavailableError(
              absl::StrCat("the connection ended: ", error.message())));
        }
        self->OnRead(bytes);
      });
}

void PeerConnection::OnRead(size_t bytes) {
  absl::string_view in(read_buffer_.data(), bytes);
  while (true) {
    auto frame = parser_->Next(in);
    if (!frame.ok()) return Fail(frame.status());
    if (!frame->has_value()) break;
    const absl::Status handled = callbacks_.on_frame(**frame);
    if (!open_) return;
    if (!handled.ok()) return Fail(handled);
  }
  Read();
}

bool PeerConnection::Send(absl::string_view frame) {
  if (!open_ || closing_) return false;
  if (pending_.size() + writing_.size() + frame.size() > queue_bytes_max_) {
    return false;
  }
  pending_.append(frame.data(), frame.size());
  bytes_queued_ += frame.size();
  if (compressor_ == nullptr || pending_.size() >= kBatchBytes) {
    PostFlush();
  } else if (!std::exchange(batch_waits_, true)) {
    loop_.After(batch_delay_, [self = shared_from_this()] {
      self->batch_waits_ = false;
      self->PostFlush();
    });
  }
  return true;
}

void PeerConnection::CompressFromNow(absl::Duration delay) {
  if (compressor_ != nullptr) return;
  // What is queued already leaves as it is.
  first_.append(std::exchange(pending_, ""));
  if (!first_.empty()) PostFlush();
  compressor_ = std::make_unique<Compressor>();
  batch_delay_ = delay;
}

bool PeerConnection::SendFirst(absl::string_view frame) {
  if (!open_ || closing_) return false;
  if (first_.size() + frame.size() > queue_bytes_max_) return false;
  first_.append(frame.data(), frame.size());
  bytes_queued_ += frame.size();
  PostFlush();
  return true;
}

void PeerConnection::PostFlush() {
  if (!writing_.empty() || flush_posted_) return;
  flush_posted_ = true;
  loop_.Post([self = shared_from_this()] {
    self->flush_posted_ = false;
    self->Flush();
  });
}

void PeerConnection::Flush() {
  if (!open_) return;
  if (pending_.empty() && first_.empty()) {
    if (closing_) Close();
    return;
  }
  if (first_.empty()) {
    TakePending();
  } else {
    std::swap(first_, writing_);
  }
  bytes_sent_ += writing_.size();
  asio::async_write(
      socket_, asio::buffer(writing_),
      [self = shared_from_this()](const error_code& error, size_t) {
        self->writing_.clear();
        if (self->writing_.capacity() > kKeptBufferBytes) {
          self->writing_.shrink_to_fit();
        }
        if (!self->open_) return;
        if (error) {
          return self->Fail(absl::UnavailableError(
              absl::StrCat("the connection ended: ", error.message())));
        }
        if (self->pending_.size() < self->queue_bytes_max_ / 2 &&
            self->callbacks_.on_drained) {
          self->callbacks_.on_drained();
        }
        // What waits for more goes on waiting.
        if (self->batch_waits_ && self->first_.empty() && !self->closing_ &&
            self->pending_.size() < kBatchBytes) {
          return;
        }
        self->Flush();
      });
}

void PeerConnection::TakePending() {
  if (compressor_ == nullptr) return std::swap(pending_, writing_);
  const absl::string_view piece =
      absl::string_view(pending_).substr(0, kBatchContentBytesMax);
  std::string batch;
  compressor_->Compress(piece, batch);
  writing_ = EncodeCompressed(batch);
  pending_.erase(0, piece.size());
}

void PeerConnection::CloseAfterSending() {
  closing_ = true;
  if (writing_.empty() && !flush_posted_) Flush();
}

void PeerConnection::Close() {
  if (!open_) return;
  open_ = false;
  error_code ignored;
  socket_.close(ignored);
  // Not now: this may run inside one of them.
  loop_.Post([self = shared_from_this()] { self->callbacks_ = {}; });
}

void PeerConnection::Fail(const absl::Status& why) {
  if (!open_) return;
  Close();
  if (callbacks_.on_closed) callbacks_.on_closed(why);
}

}  // namespace dovetail::net
