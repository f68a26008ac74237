#include "net/lane_input.h"

namespace dovetail::net {

using replica::ClientRequest;

namespace {

size_t BytesOf(const crdt::Operation& operation) {
  size_t bytes = kInputBytes + operation.object.bucket.size() +
                 operation.object.key.size() + operation.value.size();
  for (const auto& element : operation.elements) bytes += 32 + element.size();
  for (const auto& field : operation.fields) bytes += 32 + field.name.size();
  if (operation.observed) bytes += 128 * operation.observed->leaves.size();
  return bytes;
}

}  // namespace

size_t BytesOf(const ClientRequest& request) {
  size_t bytes = kInputBytes;
  if (const auto* write = std::get_if<replica::WriteRequest>(&request.body)) {
    for (const auto& operation : write->operations) bytes += BytesOf(operation);
  } else if (const auto* read =
                 std::get_if<replica::ReadRequest>(&request.body)) {
    bytes += read->spec.object.bucket.size() + read->spec.object.key.size();
    if (read->spec.after_element) bytes += read->spec.after_element->size();
  }
  return bytes;
}

uint64_t CostOf(const Input& input) {
  const auto& request = std::get<ClientRequest>(input);
  const auto* write = std::get_if<replica::WriteRequest>(&request.body);
  return write == nullptr ? 1 : write->operations.size();
}

// Whether a peer sent it so that somebody catches up; nobody's request waits
// for that.
bool IsSync(const Input& input) {
  const auto* peer = std::get_if<PeerInput>(&input);
  if (peer == nullptr) return false;
  const auto& body = peer->message.body;
  return std::holds_alternative<replica::Summary>(body) ||
         std::holds_alternative<replica::SyncDeltas>(body) ||
         std::holds_alternative<replica::RangeQuery>(body) ||
         std::holds_alternative<replica::RangeAnswer>(body);
}

std::optional<DeltaSource> DeltaSourceOf(const Input& input) {
  const auto* peer = std::get_if<PeerInput>(&input);
  if (peer == nullptr ||
      !std::holds_alternative<replica::SyncDeltas>(peer->message.body)) {
    return std::nullopt;
  }
  return DeltaSource(peer->from, peer->message.partition);
}

}  // namespace dovetail::net
