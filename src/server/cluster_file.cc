#include "src/server/cluster_file.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "replica/hash.h"
#include "src/server/file.h"

namespace dovetail::server {
namespace {

constexpr absl::string_view kLayout = "dovetail cluster, layout 1\n";
constexpr size_t kTextBytesMax = 4 << 10;
constexpr size_t kStateBytesMax = 16 << 20;

absl::StatusOr<replica::MemberRecord> ReadRecord(crdt::Reader& in) {
  const absl::string_view bytes = in.Bytes(kTextBytesMax);
  DOVETAIL_RETURN_IF_ERROR(in.status());
  return replica::DecodeMemberRecord(bytes);
}

}  // namespace

std::string EncodeClusterState(const ClusterState& state) {
  std::string body;
  crdt::Writer out(&body);
  out.Byte(crdt::kCodecVersion);
  out.Varint(state.incarnation);
  out.Bytes(state.listen);
  out.Bytes(state.peer_listen);
  out.Bytes(replica::EncodeMemberRecord(state.self));
  out.Bytes(replica::EncodeClusterConfig(state.config));
  out.Varint(state.peers.size());
  for (const replica::MemberRecord& peer : state.peers) {
    out.Bytes(replica::EncodeMemberRecord(peer));
  }
  std::string bytes(kLayout);
  crdt::Writer file(&bytes);
  file.Bytes(body);
  const replica::Hash128 hash = replica::HashBytes(body);
  file.Fixed64(hash.high);
  file.Fixed64(hash.low);
  return bytes;
}

absl::StatusOr<ClusterState> DecodeClusterState(absl::string_view bytes) {
  if (!absl::StartsWith(bytes, kLayout)) {
    return absl::InvalidArgumentError("it is of another layout");
  }
  bytes.remove_prefix(kLayout.size());
  crdt::Reader file(bytes);
  const absl::string_view body = file.Bytes(kStateBytesMax);
  const replica::Hash128 hash{file.Fixed64(), file.Fixed64()};
  DOVETAIL_RETURN_IF_ERROR(file.Finish());
  if (replica::HashBytes(body) != hash) {
    return absl::InvalidArgumentError("its checksum is wrong");
  }
  crdt::Reader in(body);
  in.ExpectVersion();
  ClusterState state;
  state.incarnation = in.Varint();
  state.listen = std::string(in.Bytes(kTextBytesMax));
  state.peer_listen = std::string(in.Bytes(kTextBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(state.self, ReadRecord(in));
  const absl::string_view config = in.Bytes(replica::kClusterConfigBytesMax);
  DOVETAIL_RETURN_IF_ERROR(in.status());
  DOVETAIL_ASSIGN_OR_RETURN(state.config, replica::DecodeClusterConfig(config));
  if (!state.config.ring.has_value()) in.Fail("no ring");
  const size_t peers = in.Count(1);
  for (size_t i = 0; i < peers && in.ok(); ++i) {
    DOVETAIL_ASSIGN_OR_RETURN(replica::MemberRecord peer, ReadRecord(in));
    state.peers.push_back(std::move(peer));
  }
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return state;
}

absl::StatusOr<std::optional<ClusterState>> LoadClusterState(
    const std::string& data_dir) {
  const std::string path = absl::StrCat(data_dir, "/", kClusterFile);
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> bytes,
                            ReadFile(path));
  if (!bytes.has_value()) return std::nullopt;
  auto state = DecodeClusterState(*bytes);
  if (!state.ok()) {
    return absl::DataLossError(absl::StrCat(
        path, " is damaged: ", state.status().message(),
        "; move it away and start with --join, or with the --member list of "
        "the first start"));
  }
  return *std::move(state);
}

absl::Status SaveClusterState(const std::string& data_dir,
                              const ClusterState& state) {
  return ReplaceFile(data_dir, kClusterFile, EncodeClusterState(state));
}

}  // namespace dovetail::server
