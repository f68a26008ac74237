#include "tests/crdt/world.h"

#include <algorithm>
#include <random>

#include "crdt/query.h"

namespace dovetail::crdt::model {
namespace {

constexpr size_t kSnapshotsMax = 4;
constexpr size_t kTokensMax = 6;

ActorId ActorOf(size_t replica) {
  // Ascending with the index, as the specification breaks ties by it; the
  // middle one is an edge to have all bits in play.
  return MakeActorId(replica == 0 ? ActorKind::kNode : ActorKind::kEdge,
                     replica * 0x1234567);
}

// A function that gives one stamp whatever was observed: a clock may be
// anywhere, and no law may depend on it.
auto ConstantClock(uint64_t stamp) {
  return [stamp](Timestamp) { return Timestamp{stamp, 0}; };
}

}  // namespace

World::World(const Subject& subject, size_t replicas, Checks checks)
    : subject_(subject), checks_(checks), spec_(replicas), gone_(replicas) {
  for (size_t i = 0; i < replicas; ++i) replicas_.emplace_back(ActorOf(i));
}

std::string World::Do(const Move& move) {
  const size_t who = move.who % replicas_.size();
  const unsigned kind = move.kind % 16;
  if (kind < 7) return DoMutate(move);
  if (kind < 12) return DoDeliver(move);
  if (kind == 12) {
    const size_t from = move.target % replicas_.size();
    return JoinState(from, who);
  }
  if (kind < 15) return ReadToken(move);
  if (snapshots_.size() < kSnapshotsMax) snapshots_.push_back(replicas_[who]);
  return "";
}

std::string World::DoMutate(const Move& move) {
  std::vector<Operation> batch{OperationOf(subject_, move)};
  // One in four is a batch.
  for (unsigned i = 0; move.kind % 4 == 3 && i < 1u + move.detail % 3u; ++i) {
    Move other = move;
    other.target = static_cast<uint8_t>(move.target * 7 + i + 1);
    other.verb = static_cast<uint8_t>(move.verb * 5 + i);
    other.detail = static_cast<uint8_t>(move.detail * 3 + i);
    batch.push_back(OperationOf(subject_, other));
  }
  std::vector<const Sight*> sights;
  for (Operation& operation : batch) {
    const Token* token = nullptr;
    if (move.stamp % 3 == 0) token = TokenFor(operation);
    if (token != nullptr) operation.observed = token->observed;
    sights.push_back(token == nullptr ? nullptr : &token->sight);
  }
  return Mutate(move.who % replicas_.size(), batch, sights, move.stamp % 5);
}

std::string World::DoDeliver(const Move& move) {
  const size_t who = move.who % replicas_.size();
  std::vector<size_t> candidates;
  // One in eight is a duplicate.
  const bool again = move.detail % 8 == 7;
  for (size_t i = 0; i < deltas_.size(); ++i) {
    if ((spec_.reached(who).count(i) != 0) == again) candidates.push_back(i);
  }
  if (candidates.empty()) return "";
  return Deliver(candidates[move.target % candidates.size()], who);
}

std::string World::ReadToken(const Move& move) {
  const size_t who = move.who % replicas_.size();
  Token token;
  token.scope = subject_.targets[move.target % subject_.targets.size()];
  ReadSpec spec;
  spec.object = token.scope.object;
  spec.fields = token.scope.fields;
  spec.want_token = true;
  if (HasElements(token.scope.type()) && move.detail % 2 == 0) {
    token.element = Elements()[move.detail / 2 % Elements().size()];
    spec.element = token.element;
  }
  ObjectsView view = replicas_[who].view();
  auto read = Query(view, spec);
  if (!read.ok()) return std::string(read.status().message());
  if (!read->token.has_value()) return "a read that wanted a token got none";
  auto decoded = ObservedToken::Decode(read->token->Encode());
  if (!decoded.ok() || *decoded != *read->token) {
    return "P14: a token changes by encoding and decoding it";
  }
  token.observed = *std::move(decoded);
  token.sight = spec_.See(spec_.reached(who), spec.object, spec.fields);
  if (token.element.has_value()) {
    std::erase_if(token.sight, [&](FactId id) {
      return spec_.fact(id).place.element != *token.element;
    });
  }
  story_.push_back(std::to_string(who) + " reads a token at " +
                   ToString(spec.object));
  token_history_.push_back(token.observed);
  if (tokens_.size() == kTokensMax) tokens_.erase(tokens_.begin());
  tokens_.push_back(std::move(token));
  return "";
}

const World::Token* World::TokenFor(const Operation& operation) const {
  std::vector<Field> place = operation.fields;
  if (operation.verb == Verb::kRemoveField) place.push_back(operation.child);
  for (auto it = tokens_.rbegin(); it != tokens_.rend(); ++it) {
    const std::vector<Field>& scope = it->scope.fields;
    if (it->scope.object != operation.object || scope.size() > place.size() ||
        !std::equal(scope.begin(), scope.end(), place.begin())) {
      continue;
    }
    if (it->element.has_value() &&
        operation.elements != std::vector<std::string>{*it->element}) {
      continue;
    }
    return &*it;
  }
  return nullptr;
}

std::string World::Mutate(size_t replica, const std::vector<Operation>& batch,
                          const std::vector<const Sight*>& tokens,
                          uint64_t stamp) {
  for (const Operation& operation : batch) {
    story_.push_back(std::to_string(replica) + " at " + std::to_string(stamp) +
                     ": " + Describe(operation));
  }
  std::vector<Step> steps;
  for (size_t i = 0; i < batch.size(); ++i) {
    steps.push_back({batch[i], tokens[i], stamp});
  }
  const Spec::Outcome expected = spec_.Mutate(replica, steps);
  const Replica before = replicas_[replica];
  auto made = replicas_[replica].Mutate(batch, ConstantClock(stamp));
  if (!made.ok()) return "refused: " + std::string(made.status().message());
  if (!made->delta && expected.effect) return "an effect without a delta";
  if (made->delta && !expected.made) return "a delta without an effect";
  if (!made->delta && expected.made) spec_.Withdraw();
  for (size_t i = 0; i < batch.size(); ++i) {
    if (made->outcomes[i].not_observed != expected.not_observed[i]) {
      return "not_observed is wrong";
    }
  }
  if (!made->delta) {
    return before.SameState(replicas_[replica]) ? "" : "state without a delta";
  }
  const Delta& delta = *made->delta;
  std::string wrong = CheckNewDelta(expected.group, delta);
  if (wrong.empty()) wrong = NameDots(expected.group, delta);
  if (wrong.empty()) wrong = CheckSuperseded(expected.group, delta);
  if (checks_ == Checks::kEveryStep && wrong.empty()) {
    wrong = CheckBuilder(before, replica, batch, delta, stamp);
  }
  return wrong.empty() ? CheckStep(before, replica, &delta) : wrong;
}

std::string World::Deliver(size_t delta, size_t replica) {
  story_.push_back("delta " + std::to_string(delta) + " to " +
                   std::to_string(replica));
  const bool duplicate = spec_.reached(replica).count(delta) != 0;
  const Replica before = replicas_[replica];
  const auto applied = replicas_[replica].Apply(deltas_[delta]);
  if (applied == Replica::Applied::kDotReuse) return "dot reuse at apply";
  if ((applied == Replica::Applied::kDuplicate) != duplicate) {
    return "a delta is taken for a duplicate, or the other way round";
  }
  spec_.Deliver(delta, replica);
  return CheckStep(before, replica, &deltas_[delta]);
}

std::string World::JoinState(size_t from, size_t into) {
  story_.push_back("state of " + std::to_string(from) + " into " +
                   std::to_string(into));
  const Replica before = replicas_[into];
  if (replicas_[into].JoinState(replicas_[from]) != JoinResult::kOk) {
    return "dot reuse at a state join";
  }
  spec_.JoinState(from, into);
  return CheckStep(before, into, nullptr);
}

std::string World::Heal(uint32_t salt) {
  std::vector<std::pair<size_t, size_t>> messages;
  for (size_t delta = 0; delta < deltas_.size(); ++delta) {
    for (size_t replica = 0; replica < replicas_.size(); ++replica) {
      messages.emplace_back(delta, replica);
      if ((delta + replica + salt) % 4 == 0) {
        messages.emplace_back(delta, replica);
      }
    }
  }
  std::minstd_rand random(salt + 1);
  for (size_t i = messages.size(); i > 1; --i) {
    std::swap(messages[i - 1], messages[random() % i]);
  }
  for (const auto& [delta, replica] : messages) {
    std::string wrong = Deliver(delta, replica);
    if (!wrong.empty()) return wrong;
  }
  for (size_t i = 1; i < replicas_.size(); ++i) {
    std::string wrong = Differences(replicas_[0], replicas_[i]);
    if (!wrong.empty()) return "P6: after healing, " + wrong;
  }
  return "";
}

}  // namespace dovetail::crdt::model
