// The part of client_codec.h that is about the properties of buckets.
#include <limits>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/limits.h"
#include "net/client_codec.h"
#include "net/guarded.h"

namespace dovetail::net {
namespace {

using replica::BucketChange;
using replica::BucketProperty;

capnp::Data::Reader AsData(absl::string_view bytes) {
  return capnp::Data::Reader(reinterpret_cast<const kj::byte*>(bytes.data()),
                             bytes.size());
}

unsigned Size(size_t size) {
  DOVETAIL_CHECK(size <= std::numeric_limits<unsigned>::max());
  return static_cast<unsigned>(size);
}

absl::StatusOr<std::string> DecodeName(capnp::Data::Reader in) {
  if (in.size() > crdt::kBucketBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("bucket: ", in.size(),
                     " is over bucket_bytes_max = ", crdt::kBucketBytesMax));
  }
  return std::string(reinterpret_cast<const char*>(in.begin()), in.size());
}

void EncodeSetting(BucketProperty property, uint64_t value,
                   wire::BucketSetting::Builder out) {
  const auto small = static_cast<uint32_t>(value);
  switch (property) {
    case BucketProperty::kRead:
      return EncodeLevel(replica::LevelOfNumber(value), out.initR());
    case BucketProperty::kWrite:
      return EncodeLevel(replica::LevelOfNumber(value), out.initW());
    case BucketProperty::kQuorums:
      return out.setQuorums(AsWire(static_cast<replica::Quorums>(value)));
    case BucketProperty::kDurability:
      if (value == 0) return out.setNoDurability();
      return out.setDurability(
          AsWire(static_cast<replica::Durability>(value - 1)));
    case BucketProperty::kTimeout:
      return out.setTimeoutMs(small);
    case BucketProperty::kValueBytesMax:
      return out.setValueBytesMax(small);
    case BucketProperty::kTtl:
      return out.setTtlMs(value);
  }
}

absl::StatusOr<std::pair<BucketProperty, uint64_t>> DecodeSetting(
    wire::BucketSetting::Reader in) {
  switch (in.which()) {
    case wire::BucketSetting::UNKNOWN:
      break;
    case wire::BucketSetting::R: {
      DOVETAIL_ASSIGN_OR_RETURN(const auto level, DecodeLevel(in.getR()));
      return {{BucketProperty::kRead, replica::LevelNumber(level)}};
    }
    case wire::BucketSetting::W: {
      DOVETAIL_ASSIGN_OR_RETURN(const auto level, DecodeLevel(in.getW()));
      return {{BucketProperty::kWrite, replica::LevelNumber(level)}};
    }
    case wire::BucketSetting::QUORUMS: {
      DOVETAIL_ASSIGN_OR_RETURN(const auto quorums,
                                DecodeQuorums(in.getQuorums()));
      return {{BucketProperty::kQuorums, static_cast<uint64_t>(quorums)}};
    }
    case wire::BucketSetting::DURABILITY: {
      DOVETAIL_ASSIGN_OR_RETURN(const auto durability,
                                DecodeDurability(in.getDurability()));
      return {
          {BucketProperty::kDurability, 1 + static_cast<uint64_t>(durability)}};
    }
    case wire::BucketSetting::NO_DURABILITY:
      return {{BucketProperty::kDurability, 0}};
    case wire::BucketSetting::TIMEOUT_MS:
      return {{BucketProperty::kTimeout, in.getTimeoutMs()}};
    case wire::BucketSetting::VALUE_BYTES_MAX:
      return {{BucketProperty::kValueBytesMax, in.getValueBytesMax()}};
    case wire::BucketSetting::TTL_MS:
      return {{BucketProperty::kTtl, in.getTtlMs()}};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown bucket property ",
                   static_cast<uint16_t>(in.which()), " (a newer version?)"));
}

void EncodeSettings(const replica::BucketSettings& settings,
                    capnp::List<wire::BucketSetting>::Builder out) {
  unsigned i = 0;
  for (const auto& [property, value] : settings) {
    EncodeSetting(property, value, out[i++]);
  }
}

void EncodeChange(const BucketChange& change, wire::BucketChange::Builder out) {
  out.setBucket(AsData(change.bucket));
  EncodeSettings(change.settings,
                 out.initSettings(Size(change.settings.size())));
}

absl::StatusOr<BucketChange> DecodeChange(BucketChange::Kind kind,
                                          wire::BucketChange::Reader in) {
  BucketChange change{kind, {}, {}};
  DOVETAIL_ASSIGN_OR_RETURN(change.bucket, DecodeName(in.getBucket()));
  for (const auto item : in.getSettings()) {
    DOVETAIL_ASSIGN_OR_RETURN(const auto setting, DecodeSetting(item));
    if (!change.settings.insert(setting).second) {
      return absl::InvalidArgumentError("a bucket property is there twice");
    }
  }
  return change;
}

// What a newer node may say and this one does not know is left out.
absl::StatusOr<BucketView> DecodeView(wire::BucketView::Reader in) {
  BucketView view;
  DOVETAIL_ASSIGN_OR_RETURN(view.bucket, DecodeName(in.getBucket()));
  view.configured = in.getConfigured();
  for (const auto item : in.getSettings()) {
    const auto setting = DecodeSetting(item);
    if (setting.ok() && replica::IsSetting(setting->first, setting->second)) {
      view.settings.insert(*setting);
    }
  }
  view.changed_ms = in.getChangedMs();
  view.changed_at = replica::NodeId{in.getChangedAt()};
  return view;
}

}  // namespace

void EncodeBucketRequest(const BucketRequest& request,
                         wire::BucketRequest::Builder out) {
  if (const auto* list = std::get_if<ListBuckets>(&request)) {
    auto to = out.initList();
    if (list->after.has_value()) to.setAfter(AsData(*list->after));
    to.setInUse(list->in_use);
  } else if (const auto* describe = std::get_if<DescribeBucket>(&request)) {
    out.setDescribe(AsData(describe->bucket));
  } else if (const auto* change = std::get_if<BucketChange>(&request)) {
    DOVETAIL_CHECK(change->kind != BucketChange::Kind::kDelete);
    EncodeChange(*change, change->kind == BucketChange::Kind::kCreate
                              ? out.initCreate()
                              : out.initUpdate());
  } else {
    const auto& gone = std::get<DeleteBucket>(request);
    auto to = out.initDelete();
    to.setBucket(AsData(gone.bucket));
    to.setKeepObjects(gone.keep_objects);
  }
}

absl::StatusOr<BucketRequest> DecodeBucketRequest(
    wire::BucketRequest::Reader in) {
  return Guarded([&]() -> absl::StatusOr<BucketRequest> {
    switch (in.which()) {
      case wire::BucketRequest::LIST: {
        ListBuckets list;
        if (in.getList().hasAfter()) {
          DOVETAIL_ASSIGN_OR_RETURN(list.after,
                                    DecodeName(in.getList().getAfter()));
        }
        list.in_use = in.getList().getInUse();
        return list;
      }
      case wire::BucketRequest::DESCRIBE: {
        DescribeBucket describe;
        DOVETAIL_ASSIGN_OR_RETURN(describe.bucket,
                                  DecodeName(in.getDescribe()));
        return describe;
      }
      case wire::BucketRequest::CREATE:
        return DecodeChange(BucketChange::Kind::kCreate, in.getCreate());
      case wire::BucketRequest::UPDATE:
        return DecodeChange(BucketChange::Kind::kUpdate, in.getUpdate());
      case wire::BucketRequest::DELETE: {
        DeleteBucket gone;
        DOVETAIL_ASSIGN_OR_RETURN(gone.bucket,
                                  DecodeName(in.getDelete().getBucket()));
        gone.keep_objects = in.getDelete().getKeepObjects();
        return gone;
      }
    }
    return absl::InvalidArgumentError("an unknown request about buckets");
  });
}

void EncodeBucketReply(const absl::StatusOr<BucketPage>& reply,
                       wire::BucketReply::Builder out) {
  if (!reply.ok()) return EncodeError(reply.status(), out.initError());
  size_t fits = 0;
  size_t bytes = 0;
  for (; fits < reply->buckets.size(); ++fits) {
    const BucketView& view = reply->buckets[fits];
    bytes += view.bucket.size() + 64 + 64 * view.settings.size();
    if (bytes > kReplyWireBytesMax) break;
  }
  auto page = out.initPage();
  auto buckets = page.initBuckets(Size(fits));
  for (unsigned i = 0; i < buckets.size(); ++i) {
    const BucketView& view = reply->buckets[i];
    buckets[i].setBucket(AsData(view.bucket));
    buckets[i].setConfigured(view.configured);
    EncodeSettings(view.settings,
                   buckets[i].initSettings(Size(view.settings.size())));
    buckets[i].setChangedMs(view.changed_ms);
    buckets[i].setChangedAt(replica::Index(view.changed_at));
  }
  page.setMore(reply->more || fits < reply->buckets.size());
}

absl::StatusOr<BucketPage> DecodeBucketReply(wire::BucketReply::Reader in) {
  return Guarded([&]() -> absl::StatusOr<BucketPage> {
    if (in.isError()) return DecodeError(in.getError());
    if (!in.isPage()) {
      return absl::InvalidArgumentError("reply of an unknown kind");
    }
    BucketPage page;
    for (const auto item : in.getPage().getBuckets()) {
      DOVETAIL_ASSIGN_OR_RETURN(BucketView view, DecodeView(item));
      page.buckets.push_back(std::move(view));
    }
    page.more = in.getPage().getMore();
    return page;
  });
}

}  // namespace dovetail::net
