#include "src/client/causal_session.h"

#include <algorithm>
#include <future>
#include <map>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "replica/hash.h"
#include "replica/ring.h"
#include "replica/session_token.h"
#include "src/client/answers.h"

// saved session = version, tokens:varint, token:bytes..., by partition
namespace dovetail {
namespace {

using replica::PartitionId;
using replica::SessionToken;

// A batch without operations is refused before anybody asks.
const ObjectId& ObjectOf(const Operation& operation) {
  if (const auto* read = std::get_if<replica::ReadRequest>(&operation)) {
    return read->spec.object;
  }
  return std::get<replica::WriteRequest>(operation).operations.front().object;
}

// What the reply adds to a session, if it does.
std::optional<SessionToken> TokenOf(const Result& result) {
  if (!result.ok()) return std::nullopt;
  return std::visit([](const auto& reply) { return reply.session; }, *result);
}

// What has been seen: one token for each partition.
class Seen {
 public:
  SessionToken For(const ObjectId& object) const {
    std::lock_guard<std::mutex> lock(mutex_);
    SessionToken out;
    if (partitions_ == 0) return out;  // nothing, of no partition
    out.partitions = partitions_;
    out.partition =
        replica::PartitionOf(object.bucket, object.key, partitions_);
    const auto it = events_.find(out.partition);
    if (it != events_.end()) out.events = it->second;
    out.stamp = stamp_;
    return out;
  }

  // All or nothing.
  absl::Status Add(const std::vector<SessionToken>& tokens) {
    std::lock_guard<std::mutex> lock(mutex_);
    uint32_t partitions = partitions_;
    for (const SessionToken& token : tokens) {
      if (token.partitions == 0) continue;
      if (partitions == 0) partitions = token.partitions;
      if (partitions != token.partitions) {
        return absl::InvalidArgumentError(absl::StrCat(
            "a session of a cluster of ", partitions, " partitions got a ",
            "token of one of ", token.partitions));
      }
    }
    partitions_ = partitions;
    for (const SessionToken& token : tokens) {
      if (token.partitions == 0) continue;
      events_[token.partition].UnionWith(token.events);
      stamp_ = std::max(stamp_, token.stamp);
    }
    return absl::OkStatus();
  }

  std::vector<SessionToken> All() const {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<SessionToken> out;
    for (const auto& [partition, events] : events_) {
      out.push_back({partitions_, partition, events, stamp_});
    }
    return out;
  }

 private:
  mutable std::mutex mutex_;
  uint32_t partitions_ = 0;  // Q, from the first answer
  std::map<PartitionId, crdt::EventSet> events_;
  crdt::Timestamp stamp_;  // over all partitions
};

absl::StatusOr<std::vector<SessionToken>> DecodeSaved(absl::string_view bytes) {
  crdt::Reader in(bytes);
  in.ExpectVersion();
  const size_t count = in.Count(1);
  std::vector<SessionToken> tokens;
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const absl::string_view encoded = in.Bytes(replica::kSessionTokenBytesMax);
    if (!in.ok()) break;
    DOVETAIL_ASSIGN_OR_RETURN(SessionToken token,
                              SessionToken::Decode(encoded));
    if (token.partitions == 0 ||
        (i > 0 && token.partition <= tokens.back().partition)) {
      in.Fail("partitions are not in ascending order");
    }
    tokens.push_back(std::move(token));
  }
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return tokens;
}

}  // namespace

// Stands between handles and the client: gives each operation its token, and
// takes from each answer what it adds.
class CausalSession::Impl final : public internal::Submitter,
                                  public internal::Lister {
 public:
  Impl(internal::Submitter& client, internal::Lister& lister)
      : client_(client), lister_(lister) {}

  void Submit(Operation operation, const CallOptions& options,
              absl::AnyInvocable<void(Result)> done) override {
    SessionToken token = seen_->For(ObjectOf(operation));
    std::visit([&](auto& request) { request.session = std::move(token); },
               operation);
    client_.Submit(
        std::move(operation), options,
        [seen = seen_, done = std::move(done)](Result result) mutable {
          if (auto added = TokenOf(result)) {
            const absl::Status status = seen->Add({*added});
            if (!status.ok()) result = net::MarkMaybe(status);
          }
          done(std::move(result));
        });
  }
  void SubmitList(
      replica::ListRequest request, const CallOptions& options,
      absl::AnyInvocable<void(absl::StatusOr<Listing>)> done) override {
    request.session = seen_->All();
    lister_.SubmitList(std::move(request), options, std::move(done));
  }
  void CheckMayBlock() const override { client_.CheckMayBlock(); }
  Seen& seen() { return *seen_; }

 private:
  internal::Submitter& client_;
  internal::Lister& lister_;
  // Shared with what is in flight, which may outlive the session.
  const std::shared_ptr<Seen> seen_ = std::make_shared<Seen>();
};

CausalSession::CausalSession(internal::Submitter& client,
                             internal::Lister& lister)
    : impl_(std::make_shared<Impl>(client, lister)) {}

Bucket CausalSession::bucket(absl::string_view name) {
  return Bucket(internal::PlaceOfBucket(*impl_, name));
}

AsyncBucket CausalSession::async_bucket(absl::string_view name) {
  return AsyncBucket(internal::PlaceOfBucket(*impl_, name));
}

absl::StatusOr<BatchWritten> CausalSession::Run(const Batch& batch,
                                                const WriteOptions& options) {
  impl_->CheckMayBlock();
  return RunAsync(batch, options).get();
}

std::future<absl::StatusOr<BatchWritten>> CausalSession::RunAsync(
    const Batch& batch, const WriteOptions& options) {
  return internal::RunBatch(*impl_, batch, options);
}

void CausalSession::Submit(Operation operation, const CallOptions& options,
                           absl::AnyInvocable<void(Result)> done) {
  impl_->Submit(std::move(operation), options, std::move(done));
}

absl::StatusOr<Listing> CausalSession::List(
    absl::string_view bucket, absl::string_view prefix,
    const std::optional<ObjectId>& after, uint32_t limit,
    const CallOptions& options) {
  impl_->CheckMayBlock();
  return impl_->ListNow(bucket, prefix, after, limit, options);
}

void CausalSession::SubmitList(
    replica::ListRequest request, const CallOptions& options,
    absl::AnyInvocable<void(absl::StatusOr<Listing>)> done) {
  impl_->SubmitList(std::move(request), options, std::move(done));
}

std::string CausalSession::Save() const {
  const std::vector<SessionToken> tokens = impl_->seen().All();
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Varint(tokens.size());
  for (const SessionToken& token : tokens) out.Bytes(token.Encode());
  return bytes;
}

absl::Status CausalSession::Restore(absl::string_view saved) {
  DOVETAIL_ASSIGN_OR_RETURN(const std::vector<SessionToken> tokens,
                            DecodeSaved(saved));
  return impl_->seen().Add(tokens);
}

}  // namespace dovetail
