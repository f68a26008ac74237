// op=N: the client of the story, an exactly-once session as in the client
// library (src/client/once_session.h).
#include <utility>
#include <vector>

#include "crdt/check.h"
#include "crdt/path.h"
#include "replica/hash.h"
#include "tests/scenario/runner.h"

namespace dovetail::scenario {
namespace {

const crdt::ActorId kSession =
    crdt::MakeActorId(crdt::ActorKind::kSession, 0x5e55);

}  // namespace

absl::StatusOr<crdt::ObservedToken> Runner::TokenFor(
    NodeId who, const crdt::Operation& operation) {
  crdt::ObservedToken merged{
      operation.object, crdt::Path::OfFields(operation.fields), {}};
  // One element each, or all of the place.
  std::vector<crdt::ReadSpec> specs;
  crdt::ReadSpec spec;
  spec.object = operation.object;
  spec.fields = operation.fields;
  spec.want_token = true;
  for (const std::string& element : operation.elements) {
    spec.element = element;
    specs.push_back(spec);
  }
  if (specs.empty()) specs.push_back(spec);
  for (crdt::ReadSpec& each : specs) {
    replica::ReadRequest read;
    read.spec = std::move(each);
    replica::RequestOptions options;
    options.read = replica::Level::Count(1);
    DOVETAIL_ASSIGN_OR_RETURN(crdt::ReadResult result,
                              world_.Read(who, std::move(read), options));
    DOVETAIL_CHECK(result.token.has_value());
    merged.leaves.merge(result.token->leaves);
  }
  return merged;
}

absl::StatusOr<replica::WriteReply> Runner::WriteOnce(
    NodeId who, uint64_t id, replica::WriteRequest request,
    const RequestTerms& terms) {
  const crdt::ObjectId& object = request.operations.front().object;
  const replica::PartitionId partition =
      replica::PartitionOf(object.bucket, object.key, world_.partitions());
  crdt::SessionWriter& writer =
      writers_.try_emplace(partition, kSession).first->second;
  auto sent = identified_.find(id);
  if (sent == identified_.end()) {
    for (crdt::Operation& operation : request.operations) {
      if (!crdt::NeedsToken(operation)) continue;
      DOVETAIL_ASSIGN_OR_RETURN(operation.observed, TokenFor(who, operation));
    }
    DOVETAIL_ASSIGN_OR_RETURN(
        crdt::SessionWriter::Prepared prepared,
        writer.Prepare(std::move(request.operations),
                       client_clock_.Next(world_.WallMs())));
    sent = identified_.emplace(id, std::move(prepared)).first;
  }
  absl::StatusOr<replica::WriteReply> reply =
      Send(who, {sent->second.operations, sent->second.id}, terms);
  // The operations that come after it do not wait for its fate.
  if (!reply.ok()) writer.Forget(sent->second);
  return reply;
}

}  // namespace dovetail::scenario
