#include "net/load_watch.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "replica/shard.h"

namespace dovetail::net {
namespace {

constexpr absl::Duration kPeriod = absl::Seconds(1);

}  // namespace

LoadWatch::LoadWatch(EventLoop& loop, Host& host, Config config)
    : loop_(loop), host_(host), config_(std::move(config)) {}

void LoadWatch::Measure() {
  parts_.clear();
  for (uint32_t i = 0; i < host_.shards(); ++i) {
    host_.Query(i, [&loop = loop_,
                    weak = weak_from_this()](replica::Shard& shard) {
      auto part = std::make_shared<Part>(Part{
          shard.Load(), shard.Transfers(), shard.stats().expiry_held_back > 0});
      loop.Post([weak, part] {
        if (const auto self = weak.lock()) self->OnPart(std::move(*part));
      });
    });
  }
}

void LoadWatch::OnPart(Part part) {
  parts_.push_back(std::move(part));
  if (parts_.size() < host_.shards()) return;
  replica::NodeLoad load;
  std::vector<replica::Transfer> transfers;
  bool held_back = false;
  for (const Part& one : parts_) {
    held_back = held_back || one.expiry_held_back;
    replica::Add(one.load, load);
    transfers.insert(transfers.end(), one.transfers.begin(),
                     one.transfers.end());
  }
  std::sort(
      transfers.begin(), transfers.end(),
      [](const auto& a, const auto& b) { return a.partition < b.partition; });
  transfers_ = rates_.Look(transfers, SteadyNow());
  load.data_bytes = config_.data_bytes();
  load.transfer_rate_max = config_.transfer_bytes_per_second;
  for (const replica::TransferProgress& one : transfers_) {
    load.transfer_rate += one.bytes_per_second;
  }
  config_.tell(std::move(load));
  SayOfExpiry(held_back);
  loop_.After(kPeriod, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Measure();
  });
}

void LoadWatch::SayOfExpiry(bool held_back) {
  if (held_back == expiry_held_back_) return;
  expiry_held_back_ = held_back;
  config_.log(held_back ? "expiry: this node's clock does not agree with those "
                          "of enough owners (or they cannot be asked); nothing "
                          "that expires is removed"
                        : "expiry: what has expired is removed again");
}

}  // namespace dovetail::net
