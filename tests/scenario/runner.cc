#include "tests/scenario/runner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/limits.h"
#include "replica/keys.h"

namespace dovetail::scenario {

using replica::NodeId;

namespace {

Judgement Fails(absl::string_view expected, absl::string_view got) {
  return Complaint{Complaint::Kind::kExpectation, std::string(expected),
                   std::string(got)};
}
Judgement BadScript(absl::string_view why) {
  return Complaint{Complaint::Kind::kScript, std::string(why), ""};
}

replica::RequestOptions OptionsOf(const RequestTerms& terms) {
  replica::RequestOptions options;
  options.write = replica::Level::Count(terms.write.value_or(1));
  options.read = replica::Level::Count(terms.read.value_or(1));
  return options;
}

// Compares how an operation went with how it was to go.
Judgement JudgeStatus(const std::string& statement, const RequestTerms& terms,
                      const absl::Status& status) {
  const std::string got =
      status.ok() ? "success"
                  : absl::StrCat(absl::StatusCodeToString(status.code()), ": ",
                                 status.message());
  if (!terms.must_fail) {
    if (status.ok()) return std::nullopt;
    return Fails(absl::StrCat(statement, " to succeed"), got);
  }
  if (status.ok() ||
      (terms.must_fail->code && *terms.must_fail->code != status.code())) {
    return Fails(statement, got);
  }
  return std::nullopt;
}

// One operation may name at most so many elements; as a batch of several it is
// still one statement and one delta.
void AppendInParts(crdt::Operation operation,
                   std::vector<crdt::Operation>& out) {
  std::vector<std::string> elements = std::move(operation.elements);
  size_t begin = 0;
  do {
    const size_t end =
        std::min(elements.size(), begin + crdt::kElementsPerOperationMax);
    operation.elements.assign(
        elements.begin() + static_cast<std::ptrdiff_t>(begin),
        elements.begin() + static_cast<std::ptrdiff_t>(end));
    out.push_back(operation);
    begin = end;
  } while (begin < elements.size());
}

bool IsExpectation(const Action& action) {
  return std::holds_alternative<ExpectObject>(action) ||
         std::holds_alternative<ExpectNumber>(action) ||
         std::holds_alternative<ExpectIdentical>(action);
}
bool IsCast(const Action& action) {
  return std::holds_alternative<AddNodes>(action) ||
         std::holds_alternative<SetPartitions>(action) ||
         std::holds_alternative<UseBucket>(action);
}

}  // namespace

// --- The file ---

Result Runner::Run(absl::string_view name, absl::string_view text,
                   std::string& out) {
  const auto report = [&](int line, absl::string_view what) {
    absl::StrAppend(&out, name, ":", line, ": ", what, "\n");
  };
  ParseFailure failure;
  std::optional<Script> script = ParseScript(text, failure);
  if (!script) {
    report(failure.line,
           absl::StrCat(IsNotSupported(failure.status) ? "not supported: "
                                                       : "cannot parse: ",
                        failure.status.message()));
    return Result::kUnreadable;
  }
  parser_ = std::move(script->parser);
  for (const Statement& statement : script->statements) {
    const Judgement judgement = Perform(statement);
    if (!judgement) continue;
    switch (judgement->kind) {
      case Complaint::Kind::kNotSupported:
        report(line_, absl::StrCat("not supported: ", judgement->expected));
        return Result::kUnreadable;
      case Complaint::Kind::kScript:
        report(line_, absl::StrCat("cannot parse: ", judgement->expected));
        return Result::kUnreadable;
      case Complaint::Kind::kExpectation:
        report(line_, absl::StrCat("expected ", judgement->expected, " got ",
                                   judgement->got));
        for (size_t i = 0; i < story_.size(); ++i) {
          absl::StrAppend(&out, "  ", i + 1, ". ", story_[i], "\n");
        }
        return Result::kFails;
    }
  }
  return Result::kHolds;
}

Judgement Runner::Perform(const Statement& statement) {
  line_ = statement.line;
  if (!IsExpectation(statement.action) && !IsCast(statement.action)) {
    Tell(absl::StrCat("line ", statement.line, ": ", statement.text));
  }
  if (!IsCast(statement.action) && !world_.begun()) {
    const absl::Status begun = world_.Begin();
    if (!begun.ok()) return Fails("the nodes to start", begun.ToString());
  }
  return Carry(statement);
}

Judgement Runner::Carry(const Statement& statement) {
  current_ = statement.text;
  Judgement judgement = std::visit(
      [this](const auto& action) { return Do(action); }, statement.action);
  if (!judgement && !world_.fatal().ok()) {
    return Fails("no node to fail", world_.fatal().ToString());
  }
  return judgement;
}

void Runner::AddToLast(absl::string_view note) {
  DOVETAIL_CHECK(!story_.empty());
  absl::StrAppend(&story_.back(), " (", note, ")");
}

NodeId Runner::Node(const std::string& name) const {
  const std::optional<NodeId> node = world_.Find(name);
  // The parser knows a clone from the line on that makes it.
  DOVETAIL_CHECK(node.has_value());
  return *node;
}

Network::Way Runner::Way(const Link& link) const {
  return {Node(link.from), Node(link.to)};
}

// --- The cast ---

Judgement Runner::Do(const AddNodes& statement) {
  for (const std::string& name : statement.names) world_.AddNode(name);
  if (statement.owners > 0) world_.SetOwners(statement.owners);
  return std::nullopt;
}
Judgement Runner::Do(const SetPartitions& statement) {
  world_.SetPartitions(statement.count);
  return std::nullopt;
}
Judgement Runner::Do(const UseBucket& statement) {
  bucket_ = statement.name;
  buckets_.insert(bucket_);
  if (statement.ttl_ms > 0) world_.SetBucketTtl(bucket_, statement.ttl_ms);
  return std::nullopt;
}

Judgement Runner::Do(const Repeat& statement) {
  const int line = line_;
  const std::string told = story_.back();
  for (uint64_t round = 1; round <= statement.rounds; ++round) {
    const absl::StatusOr<Statement> parsed =
        parser_.ParseRound(statement, round, line);
    if (!parsed.ok()) return BadScript(parsed.status().message());
    story_.back() = absl::StrCat(told, " (round ", round, ")");
    if (Judgement judgement = Carry(*parsed)) return judgement;
  }
  return std::nullopt;
}

// --- Operations ---

std::optional<crdt::Operation> Runner::Complete(const OperationStep& step,
                                                Judgement& complaint) const {
  crdt::Operation operation = step.operation;
  operation.object.bucket = bucket_;
  if (!step.token.empty()) {
    const auto token = tokens_.find(step.token);
    if (token == tokens_.end()) {
      complaint = BadScript(absl::StrCat("no token \"", step.token, "\""));
      return std::nullopt;
    }
    operation.observed = token->second;
  }
  return operation;
}

absl::StatusOr<replica::WriteReply> Runner::Send(NodeId who,
                                                 replica::WriteRequest request,
                                                 const RequestTerms& terms) {
  const bool at_once = terms.write || terms.read;
  return world_.Write(who, std::move(request), OptionsOf(terms),
                      at_once ? World::Reach::kAtOnce : World::Reach::kQueue);
}

Judgement Runner::Do(const Operate& statement) {
  replica::WriteRequest request;
  for (const OperationStep& step : statement.steps) {
    Judgement complaint;
    std::optional<crdt::Operation> operation = Complete(step, complaint);
    if (!operation) return complaint;
    AppendInParts(*std::move(operation), request.operations);
  }
  const NodeId who = Node(statement.who);
  const absl::StatusOr<replica::WriteReply> reply =
      statement.id
          ? WriteOnce(who, *statement.id, std::move(request), statement.terms)
          : Send(who, std::move(request), statement.terms);
  if (!reply.ok()) AddToLast(reply.status().ToString());
  if (reply.ok() && reply->deltas != 1) {
    AddToLast(absl::StrCat(reply->deltas, " deltas"));
  }
  return JudgeStatus(current_, statement.terms, reply.status());
}

Judgement Runner::Do(const ReadObject& statement) {
  replica::ReadRequest request;
  request.spec = statement.spec;
  request.spec.object.bucket = bucket_;
  const absl::StatusOr<crdt::ReadResult> result = world_.Read(
      Node(statement.who), std::move(request), OptionsOf(statement.terms));
  AddToLast(result.ok() ? crdt::ToString(result->view)
                        : result.status().ToString());
  if (result.ok() && !statement.token.empty()) {
    DOVETAIL_CHECK(result->token.has_value());
    tokens_.insert_or_assign(statement.token, *result->token);
  }
  return JudgeStatus(current_, statement.terms, result.status());
}

Judgement Runner::Do(const SetClock& statement) {
  world_.SetClock(Node(statement.who), statement.offset_ms);
  return std::nullopt;
}

Judgement Runner::Do(const Wait& statement) {
  world_.Pass(absl::Milliseconds(statement.ms));
  return std::nullopt;
}

// --- Messages ---

Judgement Runner::CheckPlace(const Link& link, uint64_t place) {
  const size_t queued = world_.network().queue(Way(link)).size();
  if (place >= 1 && place <= queued) return std::nullopt;
  return Fails(absl::StrCat("delta ", place, " in ", link.from, "->", link.to),
               absl::StrCat(queued, " queued"));
}

Judgement Runner::Do(const Ship& statement) {
  const Network::Way way = Way(statement.link);
  const World::ShipTerms terms{.keep = false, .answered = statement.answered};
  size_t shipped = 0;
  if (statement.only) {
    if (Judgement wrong = CheckPlace(statement.link, *statement.only)) {
      return wrong;
    }
    shipped += world_.ShipOne(way, *statement.only - 1, terms) ? 1 : 0;
  } else {
    const size_t queued = world_.network().queue(way).size();
    while (shipped < queued &&
           world_.ShipOne(way, statement.reversed ? queued - shipped - 1 : 0,
                          terms)) {
      ++shipped;
    }
  }
  AddToLast(absl::StrCat("delivered ", shipped));
  return std::nullopt;
}

Judgement Runner::Do(const Drop& statement) {
  Network::Queue& queue = world_.network().queue(Way(statement.link));
  if (!statement.only) {
    AddToLast(absl::StrCat("lost ", queue.size()));
    queue.clear();
    return std::nullopt;
  }
  if (Judgement wrong = CheckPlace(statement.link, *statement.only)) {
    return wrong;
  }
  queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(*statement.only - 1));
  return std::nullopt;
}

Judgement Runner::Do(const Duplicate& statement) {
  if (Judgement wrong = CheckPlace(statement.link, statement.which)) {
    return wrong;
  }
  const bool arrived = world_.ShipOne(Way(statement.link), statement.which - 1,
                                      {.keep = true, .answered = true});
  AddToLast(arrived ? "delivered and kept" : "not delivered");
  return std::nullopt;
}

Judgement Runner::Do(const Cut& statement) {
  const Network::Way way = Way(statement.link);
  world_.network().Cut(way);
  if (statement.both_ways) world_.network().Cut({way.second, way.first});
  return std::nullopt;
}

Judgement Runner::Do(const Heal& statement) {
  if (!statement.link) {
    world_.network().HealAll();
    return std::nullopt;
  }
  const Network::Way way = Way(*statement.link);
  world_.network().Heal(way);
  if (statement.both_ways) world_.network().Heal({way.second, way.first});
  return std::nullopt;
}

Judgement Runner::Do(const SyncPair& statement) {
  if (statement.pair) {
    world_.SyncPair(Node(statement.pair->from), Node(statement.pair->to));
  } else {
    world_.SyncAll();
  }
  return std::nullopt;
}

Judgement Runner::Do(const RangeSync& statement) {
  const NodeId healthy = Node(statement.pair.from);
  const NodeId stale = Node(statement.pair.to);
  if (Judgement wrong = Need(healthy, true)) return wrong;
  if (Judgement wrong = Need(stale, true)) return wrong;
  std::optional<std::string> until;
  if (!statement.until.empty()) {
    // Behind the rows of all objects of that key, whatever their type.
    std::string prefix = replica::MakeObjectKey(
                             {bucket_, statement.until, crdt::Type::kRegister})
                             .prefix;
    prefix.pop_back();
    until = replica::RangeEnd(prefix);
  }
  world_.RangeSync(healthy, stale, until);
  return std::nullopt;
}

Judgement Runner::Do(const Settle&) {
  const absl::Status settled = world_.Settle();
  if (settled.ok()) return std::nullopt;
  return Fails("everything to settle", settled.message());
}

// --- Faults ---

Judgement Runner::Need(NodeId node, bool running) const {
  if (world_.IsRunning(node) == running) return std::nullopt;
  return Fails(
      absl::StrCat(world_.NameOf(node), running ? " running" : " stopped"),
      absl::StrCat(world_.NameOf(node), running ? " stopped" : " running"));
}

Judgement Runner::Do(const Crash& statement) {
  const NodeId node = Node(statement.who);
  if (Judgement wrong = Need(node, true)) return wrong;
  world_.Stop(node);
  if (statement.losing) {
    world_.LoseDeltas(node, *statement.losing == Crash::kLoseAll
                                ? sim::kAll
                                : static_cast<size_t>(*statement.losing));
  }
  return std::nullopt;
}

Judgement Runner::Do(const MakeDurable& statement) {
  const NodeId node = Node(statement.who);
  if (Judgement wrong = Need(node, true)) return wrong;
  const absl::Status synced = world_.MakeDurable(node);
  if (synced.ok()) return std::nullopt;
  return Fails(current_, synced.ToString());
}

Judgement Runner::Do(const Start& statement) {
  const NodeId node = Node(statement.who);
  if (Judgement wrong = Need(node, false)) return wrong;
  const absl::Status started = world_.Start(node);
  if (started.ok()) return std::nullopt;
  return Fails(absl::StrCat(statement.who, " to start"), started.ToString());
}

Judgement Runner::Do(const Backup& statement) {
  backups_[statement.name] = world_.CopyDisk(Node(statement.who));
  return std::nullopt;
}

Judgement Runner::Do(const Restore& statement) {
  const NodeId node = Node(statement.who);
  const auto backup = backups_.find(statement.name);
  if (backup == backups_.end()) {
    return BadScript(absl::StrCat("no backup \"", statement.name, "\""));
  }
  if (Judgement wrong = Need(node, false)) return wrong;
  world_.ReplaceDisk(node, backup->second->Copy());
  return std::nullopt;
}

Judgement Runner::Do(const Clone& statement) {
  if (world_.Find(statement.name)) {
    return BadScript(absl::StrCat("two nodes \"", statement.name, "\""));
  }
  const absl::Status cloned = world_.Clone(Node(statement.who), statement.name);
  if (cloned.ok()) return std::nullopt;
  return Fails(absl::StrCat(statement.name, " to start"), cloned.ToString());
}

Judgement Runner::Do(const Wipe& statement) {
  const NodeId node = Node(statement.who);
  if (Judgement wrong = Need(node, false)) return wrong;
  world_.WipeDisk(node);
  return std::nullopt;
}

Judgement Runner::Do(const ChangeRing& statement) {
  using Kind = ChangeRing::Kind;
  absl::Status changed;
  switch (statement.kind) {
    case Kind::kJoin:
      changed = world_.Join(statement.who);
      break;
    case Kind::kLeave:
    case Kind::kRemove:
      changed =
          world_.Leave(Node(statement.who), statement.kind == Kind::kRemove);
      break;
    case Kind::kReplace:
      changed = world_.Replace(Node(statement.who), statement.by);
      break;
    case Kind::kWeight:
      changed = world_.SetWeight(Node(statement.who), statement.weight);
      break;
  }
  if (changed.ok()) return std::nullopt;
  return Fails(current_, changed.ToString());
}

Judgement Runner::Do(const Damage& statement) {
  const NodeId node = Node(statement.who);
  if (Judgement wrong = Need(node, false)) return wrong;
  crdt::ObjectId object = statement.object;
  object.bucket = bucket_;
  const absl::StatusOr<size_t> rows =
      world_.DamageRows(node, object, statement.flips);
  if (!rows.ok()) return Fails(current_, rows.status().ToString());
  if (*rows == 0) return Fails("rows to damage", "none");
  AddToLast(absl::StrCat(*rows, " rows"));
  return std::nullopt;
}

Judgement Runner::Do(const Scrub& statement) {
  const NodeId node = Node(statement.who);
  if (Judgement wrong = Need(node, true)) return wrong;
  world_.Scrub(node);
  return std::nullopt;
}

Judgement Runner::Do(const Stale& statement) {
  const NodeId node = Node(statement.who);
  if (Judgement wrong = Need(node, true)) return wrong;
  const absl::Status dropped = world_.MakeStale(node);
  if (dropped.ok()) return std::nullopt;
  return Fails(current_, dropped.ToString());
}

}  // namespace dovetail::scenario
