// Client schema <-> plain structs, both ways. Nothing of Cap'n Proto gets past
// the code that calls these functions.
//
// Encoding trusts its input: it is ours. Decoding trusts nothing: an enum
// value, a token or a pointer that makes no sense is InvalidArgument, a size
// over a limit of crdt/limits.h is ResourceExhausted with its name, found
// before the bytes are copied, and no exception leaves. Whether verb and type
// go together is left to crdt::Validate, which the replica calls anyway.
//
// Cost of each function: O(bytes of the message).
#ifndef DOVETAIL_NET_CLIENT_CODEC_H_
#define DOVETAIL_NET_CLIENT_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "net/client_types.h"
#include "net/dovetail.capnp.h"
#include "replica/request.h"
#include "replica/ring_stamp.h"

namespace dovetail::net {

// What a reply may take on the wire, below the limit of a frame by what RPC
// puts around it.
inline constexpr size_t kReplyWireBytesMax = 3 << 20;

// Nodes that one read may name in ReadRequest::only.
inline constexpr size_t kReadNodesMax = 64;

// --- Requests --------------------------------------------------------------

// A decoded execute call. An operation that does not decode leaves the others
// alone: the server answers it with its status.
struct ExecuteCall {
  replica::RequestOptions options;
  std::vector<absl::StatusOr<ClientOperation>> operations;
};

void EncodeExecute(absl::Span<const ClientOperation* const> operations,
                   const replica::RequestOptions& options,
                   wire::ExecuteRequest::Builder out);
// Errors (the call as a whole): InvalidArgument (options), ResourceExhausted
// (more than kOperationsPerCallMax mutations and reads).
absl::StatusOr<ExecuteCall> DecodeExecute(wire::ExecuteRequest::Reader in);

// By which the client chose the node; epoch 0: it goes by none.
void EncodeRing(const replica::RingStamp& ring, wire::RingStamp::Builder out);
// Of a request: what the client goes by; of a reply: the newer one of the node.
replica::RingStamp RingOf(wire::ExecuteRequest::Reader in);
replica::RingStamp NewerRingOf(wire::ExecuteReply::Reader in);
replica::RingStamp RingOf(wire::ListRequest::Reader in);
replica::RingStamp NewerRingOf(wire::ListReply::Reader in);

struct ListCall {
  replica::RequestOptions options;
  replica::ListRequest request;
};

// ResourceExhausted if the tokens that come with a listing are over
// kListSessionBytesMax together.
absl::Status CheckListSession(size_t bytes);
// Requires: they are not.
void EncodeList(const replica::ListRequest& request,
                const replica::RequestOptions& options,
                wire::ListRequest::Builder out);
absl::StatusOr<ListCall> DecodeList(wire::ListRequest::Reader in);

// --- Replies ---------------------------------------------------------------

// Keeps within kReplyWireBytesMax: reads after the first one that do not fit
// are deferred, one that never fits becomes ResourceExhausted.
void EncodeResults(absl::Span<const ClientResult> results,
                   wire::ExecuteReply::Builder out);
// The whole call failed: nothing was done.
void EncodeFailure(const absl::Status& status, wire::ExecuteReply::Builder out);
// Errors: the call's own error; InvalidArgument, marked as one that may have
// taken effect, if the reply makes no sense as a whole.
absl::StatusOr<std::vector<ClientResult>> DecodeResults(
    wire::ExecuteReply::Reader in);

// Cuts the page short, with `more`, where it would not fit.
void EncodeListReply(const absl::StatusOr<replica::ListReply>& reply,
                     wire::ListReply::Builder out);
absl::StatusOr<replica::ListReply> DecodeListReply(wire::ListReply::Reader in);

void EncodeHello(const Hello& hello, wire::HelloReply::Builder out);
absl::StatusOr<Hello> DecodeHello(wire::HelloReply::Reader in);

void EncodeStatus(const NodeStatus& status, wire::NodeStatus::Builder out);
absl::StatusOr<NodeStatus> DecodeStatus(wire::NodeStatus::Reader in);

// The partitions from number `first` on, as many as fit.
void EncodeDigests(const NodeDigests& digests, uint32_t first,
                   wire::NodeDigests::Builder out);
absl::StatusOr<NodeDigests> DecodeDigests(wire::NodeDigests::Reader in);

// An error of any reply. Decoded it is never OK, whatever the other side put
// in; may throw kj::Exception.
void EncodeError(const absl::Status& status, wire::Error::Builder out);
absl::Status DecodeError(wire::Error::Reader in);

// --- The cluster: cluster_codec.cc -------------------------------------------

void EncodeClusterView(const ClusterView& view, wire::ClusterView::Builder out);
absl::StatusOr<ClusterView> DecodeClusterView(wire::ClusterView::Reader in);

void EncodeClusterAdmin(const ClusterAdmin& admin,
                        wire::ClusterAdmin::Builder out);
absl::StatusOr<ClusterAdmin> DecodeClusterAdmin(wire::ClusterAdmin::Reader in);

void EncodeClusterAdminReply(const absl::StatusOr<PlanView>& reply,
                             wire::ClusterAdminReply::Builder out);
// Errors: the call's own; InvalidArgument if the reply makes no sense.
absl::StatusOr<PlanView> DecodeClusterAdminReply(
    wire::ClusterAdminReply::Reader in);

// Of nodes' frames, too; may throw kj::Exception. InvalidArgument: more slow
// peers than there can be.
void EncodeLoad(const replica::NodeLoad& load, wire::NodeLoad::Builder out);
absl::StatusOr<replica::NodeLoad> DecodeLoad(wire::NodeLoad::Reader in);

// May throw kj::Exception.
void EncodeTransfer(const replica::TransferProgress& progress,
                    wire::PartitionTransfer::Builder out);
replica::TransferProgress DecodeTransfer(wire::PartitionTransfer::Reader in);

// --- Properties of buckets: bucket_codec.cc ----------------------------------

void EncodeBucketRequest(const BucketRequest& request,
                         wire::BucketRequest::Builder out);
// Errors: InvalidArgument (a property that this node does not know),
// ResourceExhausted (the length of a name).
absl::StatusOr<BucketRequest> DecodeBucketRequest(
    wire::BucketRequest::Reader in);

// Cuts the page short, with `more`, where it would not fit.
void EncodeBucketReply(const absl::StatusOr<BucketPage>& reply,
                       wire::BucketReply::Builder out);
absl::StatusOr<BucketPage> DecodeBucketReply(wire::BucketReply::Reader in);

// --- Backups: backup_codec.cc ------------------------------------------------

void EncodeBackupReply(const absl::StatusOr<BackupMade>& reply,
                       wire::BackupReply::Builder out);
// Errors: the call's own; InvalidArgument if the reply makes no sense.
absl::StatusOr<BackupMade> DecodeBackupReply(wire::BackupReply::Reader in);

// Shared with client_codec*.cc; may throw kj::Exception.
void EncodeLevel(const replica::Level& level, wire::Level::Builder out);
absl::StatusOr<replica::Level> DecodeLevel(wire::Level::Reader in);
wire::Quorums AsWire(replica::Quorums quorums);
absl::StatusOr<replica::Quorums> DecodeQuorums(wire::Quorums quorums);
wire::Durability AsWire(replica::Durability durability);
absl::StatusOr<replica::Durability> DecodeDurability(
    wire::Durability durability);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_CLIENT_CODEC_H_
