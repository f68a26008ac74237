#include "src/client/packing.h"

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace dovetail::internal {
namespace {

// Struct and pointer words around an operation, and around each string in it
// with its padding.
constexpr size_t kOperationOverhead = 192;
constexpr size_t kStringOverhead = 16;

size_t BytesOf(const std::string& text) {
  return text.size() + kStringOverhead;
}

size_t BytesOf(const std::vector<Field>& fields) {
  size_t bytes = 0;
  for (const Field& field : fields) bytes += BytesOf(field.name) + 16;
  return bytes;
}

size_t BytesOf(const ObjectId& object) {
  return BytesOf(object.bucket) + BytesOf(object.key);
}

size_t BytesOf(const Token& token) {
  size_t bytes = BytesOf(token.object) + token.scope.bytes().size() + 32;
  for (const auto& [path, leaf] : token.leaves) {
    bytes += path.bytes().size() + 16 + leaf.dots.size() * 20 +
             leaf.tallies.size() * 40;
  }
  return bytes;
}

size_t BytesOf(const std::optional<replica::SessionToken>& session) {
  if (!session) return 0;
  return 64 + session->events.actor_count() * 12 +
         session->events.interval_count() * 20;
}

size_t BytesOf(const Mutation& mutation) {
  size_t bytes = kOperationOverhead + BytesOf(mutation.object) +
                 BytesOf(mutation.fields) + BytesOf(mutation.value) +
                 BytesOf(mutation.child.name);
  for (const std::string& element : mutation.elements) {
    bytes += BytesOf(element);
  }
  if (mutation.observed.has_value()) bytes += BytesOf(*mutation.observed);
  return bytes;
}

}  // namespace

Weight Weigh(const Operation& operation) {
  if (const auto* write = std::get_if<replica::WriteRequest>(&operation)) {
    constexpr size_t kIdBytes = 40;
    Weight weight{write->operations.size(),
                  BytesOf(write->session) + (write->id ? kIdBytes : 0)};
    for (const Mutation& mutation : write->operations) {
      weight.bytes += BytesOf(mutation);
    }
    return weight;
  }
  const auto& read = std::get<replica::ReadRequest>(operation);
  const crdt::ReadSpec& spec = read.spec;
  size_t bytes = kOperationOverhead + BytesOf(spec.object) +
                 BytesOf(spec.fields) + BytesOf(read.session);
  if (spec.element.has_value()) bytes += BytesOf(*spec.element);
  if (spec.after_element.has_value()) bytes += BytesOf(*spec.after_element);
  if (spec.after_field.has_value()) bytes += BytesOf(spec.after_field->name);
  return {1, bytes};
}

bool IsMutation(const Operation& operation) {
  return std::holds_alternative<replica::WriteRequest>(operation);
}

bool CallShape::Agrees(bool mutation, const CallOptions& options) const {
  if (options.timeout != options_.timeout ||
      options.quorums != options_.quorums || options.here != options_.here) {
    return false;
  }
  if (mutation) {
    return !has_mutation_ || (options.write == options_.write &&
                              options.durability == options_.durability);
  }
  return !has_read_ || options.read == options_.read;
}

bool CallShape::TryAdd(const Operation& operation, const CallOptions& options,
                       const Weight& weight) {
  const bool mutation = IsMutation(operation);
  const bool first = !has_read_ && !has_mutation_;
  if (!first) {
    if (!Agrees(mutation, options)) return false;
    if (total_.operations + weight.operations > operations_max_) return false;
    if (total_.bytes + weight.bytes > bytes_max_) return false;
  }
  options_.timeout = options.timeout;
  options_.quorums = options.quorums;
  options_.here = options.here;
  if (mutation) {
    options_.write = options.write;
    options_.durability = options.durability;
    has_mutation_ = true;
  } else {
    options_.read = options.read;
    has_read_ = true;
  }
  total_.operations += weight.operations;
  total_.bytes += weight.bytes;
  return true;
}

}  // namespace dovetail::internal
