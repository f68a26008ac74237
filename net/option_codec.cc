// The part of client_codec.h that requests and buckets have in common.
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "net/client_codec.h"

namespace dovetail::net {

wire::Durability AsWire(replica::Durability durability) {
  return durability == replica::Durability::kFsync ? wire::Durability::FSYNC
                                                   : wire::Durability::WAL;
}

wire::Quorums AsWire(replica::Quorums quorums) {
  switch (quorums) {
    case replica::Quorums::kDefault:
      return wire::Quorums::DEFAULT;
    case replica::Quorums::kSloppy:
      return wire::Quorums::SLOPPY;
    case replica::Quorums::kStrict:
      return wire::Quorums::STRICT;
  }
  DOVETAIL_CHECK(false);
}

void EncodeLevel(const replica::Level& level, wire::Level::Builder out) {
  switch (level.kind) {
    case replica::Level::Kind::kDefault:
      return out.setDefault();
    case replica::Level::Kind::kCount:
      return out.setCount(level.count);
    case replica::Level::Kind::kQuorum:
      return out.setQuorum();
    case replica::Level::Kind::kAll:
      return out.setAll();
    case replica::Level::Kind::kLocalOne:
      return out.setLocalOne();
    case replica::Level::Kind::kLocalQuorum:
      return out.setLocalQuorum();
    case replica::Level::Kind::kEachQuorum:
      return out.setEachQuorum();
  }
}

absl::StatusOr<replica::Durability> DecodeDurability(
    wire::Durability durability) {
  switch (durability) {
    case wire::Durability::WAL:
      return replica::Durability::kWal;
    case wire::Durability::FSYNC:
      return replica::Durability::kFsync;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown durability ", static_cast<uint16_t>(durability)));
}

absl::StatusOr<replica::Quorums> DecodeQuorums(wire::Quorums quorums) {
  switch (quorums) {
    case wire::Quorums::DEFAULT:
      return replica::Quorums::kDefault;
    case wire::Quorums::SLOPPY:
      return replica::Quorums::kSloppy;
    case wire::Quorums::STRICT:
      return replica::Quorums::kStrict;
  }
  return absl::InvalidArgumentError(
      "options: neither sloppy nor strict quorums (another protocol "
      "version?)");
}

absl::StatusOr<replica::Level> DecodeLevel(wire::Level::Reader in) {
  switch (in.which()) {
    case wire::Level::DEFAULT:
      return replica::Level{};
    case wire::Level::COUNT:
      if (in.getCount() == 0) {
        return absl::InvalidArgumentError("a level of 0 replicas");
      }
      return replica::Level::Count(in.getCount());
    case wire::Level::QUORUM:
      return replica::Level::Quorum();
    case wire::Level::ALL:
      return replica::Level::All();
    case wire::Level::LOCAL_ONE:
      return replica::Level::LocalOne();
    case wire::Level::LOCAL_QUORUM:
      return replica::Level::LocalQuorum();
    case wire::Level::EACH_QUORUM:
      return replica::Level::EachQuorum();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown level ", static_cast<uint16_t>(in.which())));
}

namespace {

replica::RingStamp DecodeRing(wire::RingStamp::Reader in) {
  return {in.getEpoch(), {in.getDigestHigh(), in.getDigestLow()}};
}

// What does not decode is not said: no request fails for it.
template <class Request>
replica::RingStamp RingSaidIn(Request in) {
  replica::RingStamp ring;
  kj::runCatchingExceptions([&] { ring = DecodeRing(in.getRing()); });
  return ring;
}

template <class Reply>
replica::RingStamp NewerRingSaidIn(Reply in) {
  replica::RingStamp ring;
  kj::runCatchingExceptions([&] { ring = DecodeRing(in.getNewerRing()); });
  return ring;
}

}  // namespace

void EncodeRing(const replica::RingStamp& ring, wire::RingStamp::Builder out) {
  out.setEpoch(ring.epoch);
  out.setDigestHigh(ring.digest.high);
  out.setDigestLow(ring.digest.low);
}

replica::RingStamp RingOf(wire::ExecuteRequest::Reader in) {
  return RingSaidIn(in);
}
replica::RingStamp RingOf(wire::ListRequest::Reader in) {
  return RingSaidIn(in);
}
replica::RingStamp NewerRingOf(wire::ExecuteReply::Reader in) {
  return NewerRingSaidIn(in);
}
replica::RingStamp NewerRingOf(wire::ListReply::Reader in) {
  return NewerRingSaidIn(in);
}

}  // namespace dovetail::net
