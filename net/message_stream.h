// capnp::MessageStream over an Asio socket: what Cap'n Proto RPC runs on, at
// both ends.
//
// Reads: one 64 KiB buffer filled by single reads serves as many frames as it
// holds; net/frame.h checks each before Cap'n Proto sees it. Writes: messages
// are appended to one buffer that leaves in one write at the end of the turn,
// or when the write before it is done. KJ's own stream makes several system
// calls a message; this makes far fewer than one when calls overlap
// (docs/benchmarks.md).
//
// Nothing grows without bound: frames have a limit; a peer that does not read
// first is no longer read from (servers), then is cut off.
#ifndef DOVETAIL_NET_MESSAGE_STREAM_H_
#define DOVETAIL_NET_MESSAGE_STREAM_H_

#include <capnp/serialize-async.h>

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "net/event_loop.h"
#include "net/frame.h"
#include "net/socket.h"

namespace dovetail::net {

// How deep the structs and lists of one message may nest. An RPC reply has 6
// levels around a view; the view takes 2, and 3 for each map around it
// (field list, field, view), of which there are at most crdt::kNestingMax = 8.
// 40 leaves some room; far below what would endanger a stack.
inline constexpr int kMessageNestingMax = 40;

// Limits for reading a message that came in one frame of at most so many
// bytes. Traversal: every word may be visited twice (once to validate, once to
// read), and small ones in full.
capnp::ReaderOptions ReaderOptionsFor(size_t frame_bytes_max);

struct MessageStreamOptions {
  size_t frame_bytes_max = kClientFrameBytesMax;
  // Unsent bytes above which the connection is closed: its other end has
  // stopped reading. Many times a frame, so that a burst is no reason.
  size_t unsent_bytes_max = 64 << 20;
  // Unsent bytes above which nothing more is read until they are gone; 0: read
  // on. Only for servers: if both ends did it, both could wait for ever.
  size_t unsent_bytes_pause = 0;
};

// KJ's interfaces have no virtual destructor: delete it as what it is.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"

// Belongs to the loop's thread. Destroying it closes the socket.
class SocketMessageStream final : public capnp::MessageStream {
 public:
  // `socket` is connected, and of `loop`, which must outlive the stream.
  SocketMessageStream(EventLoop& loop, Socket socket,
                      const MessageStreamOptions& options);
  ~SocketMessageStream();
  KJ_DISALLOW_COPY(SocketMessageStream);

  // Closes at once, dropping what is unsent: pending and later reads and writes
  // fail with `reason`.
  void Close(absl::Status reason);
  // Why it is closed; OK while it is open, and after the other end closed it
  // between two frames.
  const absl::Status& closed() const;
  size_t unsent_bytes() const;

  // --- capnp::MessageStream ---
  using capnp::MessageStream::tryReadMessage;
  using capnp::MessageStream::writeMessage;
  using capnp::MessageStream::writeMessages;

  // Null at the end of the stream between two frames. One read at a time.
  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fd_space, capnp::ReaderOptions options,
      kj::ArrayPtr<capnp::word> scratch_space) override;
  // Copies the message; the promise is ready at once. File descriptors are not
  // supported and must be none.
  kj::Promise<void> writeMessage(
      kj::ArrayPtr<const int> fds,
      kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override;
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>>
          messages) override;
  kj::Maybe<int> getSendBufferSize() override;
  // Sends what is unsent, then shuts the sending side down.
  kj::Promise<void> end() override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

#pragma GCC diagnostic pop

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_MESSAGE_STREAM_H_
