#include "net/message_stream.h"

#include <capnp/serialize.h>
#include <kj/async.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <string>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr size_t kReadBufferBytes = 64 << 10;
// A buffer that has grown beyond this is given back when it is empty.
constexpr size_t kKeptBufferBytes = 256 << 10;

kj::Exception ToKj(const absl::Status& status, kj::Exception::Type type) {
  return kj::Exception(type, __FILE__, __LINE__,
                       kj::heapString(std::string(status.message()).c_str()));
}

// A reader that owns its frame.
struct FrameHolder {
  FrameWords words;
};
class FrameReader final : private FrameHolder,
                          public capnp::FlatArrayMessageReader {
 public:
  FrameReader(FrameWords frame, capnp::ReaderOptions limits)
      : FrameHolder{std::move(frame)},
        capnp::FlatArrayMessageReader(
            kj::arrayPtr(
                reinterpret_cast<const capnp::word*>(FrameHolder::words.data()),
                FrameHolder::words.size()),
            limits) {}
};

using ReadResult = kj::Maybe<capnp::MessageReaderAndFds>;

}  // namespace

capnp::ReaderOptions ReaderOptionsFor(size_t frame_bytes_max) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords =
      2 * frame_bytes_max / sizeof(capnp::word) + 1024;
  options.nestingLimit = kMessageNestingMax;
  return options;
}

struct SocketMessageStream::State
    : std::enable_shared_from_this<SocketMessageStream::State> {
  State(EventLoop& event_loop, Socket connected,
        const MessageStreamOptions& stream_options)
      : loop(event_loop),
        options(stream_options),
        socket(std::move(connected)),
        parser(stream_options.frame_bytes_max) {}

  size_t unsent() const { return pending.size() + writing.size(); }
  bool paused() const {
    return options.unsent_bytes_pause > 0 &&
           unsent() > options.unsent_bytes_pause;
  }

  void Close(absl::Status why);
  kj::Exception ClosedException() const;

  // Answers the waiting read if it can be, else sees that bytes are fetched.
  void Pump();
  void StartRead();
  // The next frame, the end, an error; or nothing yet.
  enum class Took { kNothing, kFrame, kEnd, kError };
  Took Take(ReadResult& result);

  void Append(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments);
  absl::Status CheckOutgoing(
      kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) const;
  void ScheduleFlush();
  void Flush();
  void OnWritten(const error_code& error);

  EventLoop& loop;
  const MessageStreamOptions options;
  Socket socket;
  FrameParser parser;
  std::array<char, kReadBufferBytes> read_buffer;
  absl::string_view unread;  // of read_buffer
  bool reading = false;
  bool at_end = false;
  capnp::ReaderOptions reader_options;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<ReadResult>>> waiter;

  std::string pending;  // appended to
  std::string writing;  // being sent
  bool flush_posted = false;
  bool ending = false;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> end_waiter;

  bool open = true;
  absl::Status closed;
};

void SocketMessageStream::State::Close(absl::Status why) {
  if (!open) return;
  open = false;
  closed = std::move(why);
  error_code ignored;
  socket.close(ignored);
  pending.clear();
  KJ_IF_MAYBE (w, waiter) {
    (*w)->reject(ClosedException());
    waiter = nullptr;
  }
  KJ_IF_MAYBE (w, end_waiter) {
    (*w)->fulfill();
    end_waiter = nullptr;
  }
}

kj::Exception SocketMessageStream::State::ClosedException() const {
  return ToKj(closed, kj::Exception::Type::DISCONNECTED);
}

SocketMessageStream::State::Took SocketMessageStream::State::Take(
    ReadResult& result) {
  auto frame = parser.Next(unread);
  if (!frame.ok()) {
    closed = frame.status();
    return Took::kError;
  }
  if (frame->has_value()) {
    capnp::MessageReaderAndFds message;
    message.reader = kj::heap<FrameReader>(*std::move(*frame), reader_options);
    message.fds = nullptr;
    result = kj::mv(message);
    return Took::kFrame;
  }
  if (!at_end) return Took::kNothing;
  if (parser.inside_frame()) {
    closed = absl::UnavailableError("the connection ended inside a frame");
    return Took::kError;
  }
  return Took::kEnd;
}

void SocketMessageStream::State::Pump() {
  KJ_IF_MAYBE (w, waiter) {
    if (!(*w)->isWaiting()) {  // the reader has gone away
      waiter = nullptr;
      return;
    }
    if (paused()) return;
    ReadResult result;
    const Took took = Take(result);
    if (took == Took::kNothing) return StartRead();
    auto fulfiller = kj::mv(*w);
    waiter = nullptr;
    if (took == Took::kError) {
      fulfiller->reject(ToKj(closed, kj::Exception::Type::FAILED));
    } else {
      fulfiller->fulfill(kj::mv(result));
    }
  }
}

void SocketMessageStream::State::StartRead() {
  if (reading || !open) return;
  reading = true;
  socket.async_read_some(
      asio::buffer(read_buffer),
      [self = shared_from_this()](const error_code& error, size_t bytes) {
        self->reading = false;
        if (!self->open) return;
        if (error == asio::error::eof) {
          self->at_end = true;
        } else if (error) {
          return self->Close(absl::UnavailableError(
              absl::StrCat("the connection broke: ", error.message())));
        }
        self->unread = absl::string_view(self->read_buffer.data(), bytes);
        self->Pump();
      });
}

absl::Status SocketMessageStream::State::CheckOutgoing(
    kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) const {
  if (segments.size() == 0 || segments.size() > kSegmentsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a message of ", segments.size(),
                     " segments to send; the limit is ", kSegmentsMax));
  }
  size_t bytes = (segments.size() / 2 + 1) * sizeof(capnp::word);
  for (const auto& segment : segments) bytes += segment.asBytes().size();
  if (bytes > options.frame_bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a message of ", bytes, " bytes to send; the limit is ",
                     options.frame_bytes_max));
  }
  if (unsent() + bytes > options.unsent_bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the other end does not read: ", unsent(),
                     " bytes unsent; the limit "
                     "is ",
                     options.unsent_bytes_max));
  }
  return absl::OkStatus();
}

void SocketMessageStream::State::Append(
    kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  absl::InlinedVector<size_t, kSegmentsMax> sizes;
  for (const auto& segment : segments) sizes.push_back(segment.size());
  AppendFrameTable(pending, sizes);
  for (const auto& segment : segments) {
    const auto bytes = segment.asChars();
    pending.append(bytes.begin(), bytes.size());
  }
  ScheduleFlush();
}

void SocketMessageStream::State::ScheduleFlush() {
  if (flush_posted || !writing.empty()) return;
  flush_posted = true;
  asio::post(loop.context(), [self = shared_from_this()] {
    self->flush_posted = false;
    self->Flush();
  });
}

void SocketMessageStream::State::Flush() {
  if (!open) return;
  if (pending.empty()) {
    if (!ending) return;
    error_code ignored;
    socket.shutdown(Socket::shutdown_send, ignored);
    KJ_IF_MAYBE (w, end_waiter) {
      (*w)->fulfill();
      end_waiter = nullptr;
    }
    return;
  }
  std::swap(pending, writing);
  asio::async_write(
      socket, asio::buffer(writing),
      [self = shared_from_this()](const error_code& error, size_t) {
        self->OnWritten(error);
      });
}

void SocketMessageStream::State::OnWritten(const error_code& error) {
  writing.clear();
  if (writing.capacity() > kKeptBufferBytes) writing.shrink_to_fit();
  if (!open) return;
  if (error) {
    return Close(absl::UnavailableError(
        absl::StrCat("the connection broke: ", error.message())));
  }
  Flush();
  Pump();  // it may have been paused
}

SocketMessageStream::SocketMessageStream(EventLoop& loop, Socket socket,
                                         const MessageStreamOptions& options)
    : state_(std::make_shared<State>(loop, std::move(socket), options)) {}

SocketMessageStream::~SocketMessageStream() {
  state_->Close(absl::UnavailableError("the connection was dropped here"));
}

void SocketMessageStream::Close(absl::Status reason) {
  state_->Close(std::move(reason));
}

const absl::Status& SocketMessageStream::closed() const {
  return state_->closed;
}

size_t SocketMessageStream::unsent_bytes() const { return state_->unsent(); }

kj::Promise<ReadResult> SocketMessageStream::tryReadMessage(
    kj::ArrayPtr<kj::AutoCloseFd>, capnp::ReaderOptions options,
    kj::ArrayPtr<capnp::word>) {
  State& state = *state_;
  if (!state.open) return state.ClosedException();
  auto paf = kj::newPromiseAndFulfiller<ReadResult>();
  state.reader_options = options;
  state.waiter = kj::mv(paf.fulfiller);
  state.Pump();
  return kj::mv(paf.promise);
}

kj::Promise<void> SocketMessageStream::writeMessage(
    kj::ArrayPtr<const int> fds,
    kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  DOVETAIL_CHECK(fds.size() == 0);
  State& state = *state_;
  if (!state.open) return state.ClosedException();
  absl::Status status = state.CheckOutgoing(segments);
  if (!status.ok()) {
    state.Close(std::move(status));
    return state.ClosedException();
  }
  state.Append(segments);
  return kj::READY_NOW;
}

kj::Promise<void> SocketMessageStream::writeMessages(
    kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>>
        messages) {
  for (auto& message : messages) {
    auto written = writeMessage(nullptr, message);
    if (!state_->open) return written;
  }
  return kj::READY_NOW;
}

kj::Maybe<int> SocketMessageStream::getSendBufferSize() { return nullptr; }

kj::Promise<void> SocketMessageStream::end() {
  State& state = *state_;
  if (!state.open || state.ending) return kj::READY_NOW;
  state.ending = true;
  auto paf = kj::newPromiseAndFulfiller<void>();
  state.end_waiter = kj::mv(paf.fulfiller);
  state.ScheduleFlush();
  return kj::mv(paf.promise);
}

}  // namespace dovetail::net
