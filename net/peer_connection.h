// One connection between two nodes, as frames in and frames out: net/peer_link
// decides what they mean. Kept alive by its own pending operations; after
// Close() none of its callbacks is called again.
#ifndef DOVETAIL_NET_PEER_CONNECTION_H_
#define DOVETAIL_NET_PEER_CONNECTION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "net/compression.h"
#include "net/event_loop.h"
#include "net/frame.h"
#include "net/socket.h"

namespace dovetail::net {

// Compressed batches wait for more until they have so much: what a batch costs
// beside its content is then small.
inline constexpr size_t kBatchBytes = 64 << 10;

class PeerConnection : public std::enable_shared_from_this<PeerConnection> {
 public:
  struct Callbacks {
    // An error closes the connection with it.
    std::function<absl::Status(const FrameWords&)> on_frame;
    // Once, unless Close() is called first.
    std::function<void(const absl::Status&)> on_closed;
    // After a write, when less than half of the queue is left.
    std::function<void()> on_drained;
  };

  PeerConnection(EventLoop& loop, Socket socket, size_t queue_bytes_max);

  // Reads until it is closed. Frames are limited to `frame_bytes_max` until
  // AllowFrames() says otherwise. `unacked_max`: how long sent data may stay
  // unacknowledged before the connection counts as broken.
  void Start(size_t frame_bytes_max, absl::Duration unacked_max,
             Callbacks callbacks);
  // For what comes after the frame that is being handled.
  void AllowFrames(size_t frame_bytes_max);

  // From here on what is queued leaves compressed, in batches: when there is
  // kBatchBytes of it, or `delay` after the first. Its other end has to expand
  // that. What goes first is left as it is.
  void CompressFromNow(absl::Duration delay);

  // Appends to the queue; it leaves at the end of the turn. False: full.
  bool Send(absl::string_view frame);
  // Before all that waits in the queue, which may be full for it.
  bool SendFirst(absl::string_view frame);
  // Sends what is queued, then closes; for a last word.
  void CloseAfterSending();
  void Close();

  bool open() const { return open_; }
  // Since the start: of frames, and what they became on the wire.
  uint64_t bytes_queued() const { return bytes_queued_; }
  uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  void Read();
  void OnRead(size_t bytes);
  void PostFlush();
  void Flush();
  // Moves the next piece of pending_ to writing_.
  void TakePending();
  void Fail(const absl::Status& why);

  EventLoop& loop_;
  Socket socket_;
  const size_t queue_bytes_max_;
  Callbacks callbacks_;
  std::optional<FrameParser> parser_;
  std::array<char, 64 << 10> read_buffer_;
  std::string first_;  // goes before pending_
  std::string pending_;
  std::string writing_;
  bool flush_posted_ = false;
  // Set: it compresses.
  std::unique_ptr<Compressor> compressor_;
  absl::Duration batch_delay_;
  bool batch_waits_ = false;  // a timer will flush it
  uint64_t bytes_queued_ = 0;
  uint64_t bytes_sent_ = 0;
  bool closing_ = false;
  bool open_ = true;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_PEER_CONNECTION_H_
