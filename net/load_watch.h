// Measures once a second what this node carries and what is on its way to it:
// for its peers, for plans, and for who asks. On the loop's thread.
#ifndef DOVETAIL_NET_LOAD_WATCH_H_
#define DOVETAIL_NET_LOAD_WATCH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "net/event_loop.h"
#include "net/host.h"
#include "replica/node_load.h"
#include "replica/transfer_rates.h"

namespace dovetail::net {

class LoadWatch : public std::enable_shared_from_this<LoadWatch> {
 public:
  struct Config {
    std::function<uint64_t()> data_bytes;         // on disk, about
    std::function<void(replica::NodeLoad)> tell;  // gets each measurement
    uint64_t transfer_bytes_per_second = 0;       // that are taken in at most
    std::function<void(absl::string_view)> log;
  };
  // `loop` must outlive it, `host` whatever it has begun; `config` is not
  // called once the last reference to it is gone.
  LoadWatch(EventLoop& loop, Host& host, Config config);

  // Measures, and again and again.
  void Start() { Measure(); }
  // As measured last.
  const std::vector<replica::TransferProgress>& transfers() const {
    return transfers_;
  }

 private:
  // What one shard says.
  struct Part {
    replica::NodeLoad load;
    std::vector<replica::Transfer> transfers;
    bool expiry_held_back = false;
  };
  void SayOfExpiry(bool held_back);
  void Measure();
  void OnPart(Part part);

  EventLoop& loop_;
  Host& host_;
  const Config config_;
  std::vector<Part> parts_;  // of the measurement under way
  replica::TransferRates rates_;
  bool expiry_held_back_ = false;
  std::vector<replica::TransferProgress> transfers_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_LOAD_WATCH_H_
