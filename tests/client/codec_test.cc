// The client codec: whatever is encoded comes back the same, and what does not
// make sense is refused with the right code, before it costs anything.
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "crdt/limits.h"
#include "net/client_codec.h"
#include "tests/client/client_equality.h"

namespace dovetail::net {
namespace {

using crdt::Field;
using crdt::ObjectId;
using crdt::Operation;
using crdt::Type;
using crdt::Verb;
using replica::ReadReply;
using replica::ReadRequest;
using replica::WriteReply;
using replica::WriteRequest;

Operation Op(Type type, Verb verb) {
  Operation operation;
  operation.object = {"shop", std::string("cart\0:1", 7), type};
  operation.verb = verb;
  return operation;
}

// One of each verb on each type it goes with, at the top and inside a map.
std::vector<Operation> EveryMutation() {
  std::vector<Operation> all;
  const auto add = [&all](Operation operation) {
    all.push_back(operation);
    if (operation.verb >= Verb::kDelete) return;  // of whole objects
    operation.fields = {{"m", Type::kMap},
                        {std::string("\xff\0x", 3), operation.object.type}};
    operation.object.type = Type::kMap;
    all.push_back(operation);
  };
  for (Type type : {Type::kSet, Type::kRemoveSet, Type::kGrowSet}) {
    for (Verb verb : {Verb::kAdd, Verb::kRemove}) {
      Operation operation = Op(type, verb);
      operation.elements = {"x", "", std::string("a\0b", 3)};
      add(operation);
    }
  }
  for (int64_t amount : {int64_t{5}, int64_t{-7}, INT64_MIN, INT64_MAX}) {
    Operation operation = Op(Type::kCounter, Verb::kAdd);
    operation.amount = amount;
    add(operation);
  }
  add(Op(Type::kCounter, Verb::kReset));
  for (Verb verb : {Verb::kWrite, Verb::kWriteBlind}) {
    Operation operation = Op(Type::kMultiValue, verb);
    operation.value = std::string(1 << 10, '\x80');
    add(operation);
  }
  Operation write = Op(Type::kRegister, Verb::kWrite);
  add(write);  // the empty value
  for (Type type : {Type::kEnableFlag, Type::kDisableFlag}) {
    add(Op(type, Verb::kEnable));
    add(Op(type, Verb::kDisable));
  }
  Operation remove = Op(Type::kMap, Verb::kRemoveField);
  remove.child = {"tags", Type::kSet};
  add(remove);
  for (Type type : crdt::kAllTypes) {
    add(Op(type, Verb::kClear));
    add(Op(type, Verb::kDelete));
    for (Verb verb : {Verb::kExpireIn, Verb::kExpireAt}) {
      Operation expire = Op(type, verb);
      expire.amount = 1'767'225'600'000;
      add(expire);
    }
    add(Op(type, Verb::kPersist));
  }
  return all;
}

// What `operation` is after the way over the wire.
absl::StatusOr<ClientOperation> Travel(const ClientOperation& operation) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::ExecuteRequest>();
  const ClientOperation* operations[] = {&operation};
  EncodeExecute(operations, {}, root);
  auto call = DecodeExecute(root.asReader());
  REQUIRE(call.ok());
  REQUIRE(call->operations.size() == 1);
  return std::move(call->operations.front());
}

absl::Status RefusalOf(const ClientOperation& operation) {
  return Travel(operation).status();
}

crdt::ObservedToken SomeToken(const ObjectId& object) {
  crdt::ObservedToken token;
  token.object = object;
  crdt::ObservedLeaf leaf;
  leaf.dots = {{crdt::ActorId{7}, 3}, {crdt::ActorId{8}, 1}};
  token.leaves[crdt::Path().Element("milk")] = leaf;
  return token;
}

crdt::View ViewOf(Type type) {
  crdt::View view;
  view.type = type;
  view.present = true;
  return view;
}

TEST_CASE("Client codec: every verb on every type survives the wire") {
  for (const Operation& operation : EveryMutation()) {
    const ClientOperation sent = WriteRequest{{operation}};
    const auto received = Travel(sent);
    REQUIRE_MESSAGE(received.ok(), received.status().ToString());
    CHECK(Same(sent, *received));
  }
}

TEST_CASE("Client codec: a batch keeps its operations and their order") {
  const ClientOperation sent = WriteRequest{EveryMutation()};
  const auto received = Travel(sent);
  REQUIRE_MESSAGE(received.ok(), received.status().ToString());
  CHECK(Same(sent, *received));
}

TEST_CASE("Client codec: a mutation carries its observed token") {
  Operation operation = Op(Type::kSet, Verb::kRemove);
  operation.elements = {"milk"};
  operation.observed = SomeToken(operation.object);
  const ClientOperation sent = WriteRequest{{operation}};
  const auto received = Travel(sent);
  REQUIRE_MESSAGE(received.ok(), received.status().ToString());
  CHECK(Same(sent, *received));
}

TEST_CASE("Client codec: reads survive the wire, also with empty bounds") {
  ReadRequest read;
  read.spec.object = {"b", "k", Type::kSet};
  CHECK(Same(read, *Travel(read)));
  read.spec.element = "";
  CHECK(Same(read, *Travel(read)));
  read.spec.element.reset();
  read.spec.after_element = "";
  read.spec.limit = 10;
  read.spec.want_token = true;
  read.only = {replica::NodeId{2}, replica::NodeId{0}};
  CHECK(Same(read, *Travel(read)));
  read.spec.object.type = Type::kMap;
  read.spec.fields = {{"f", Type::kMap}};
  read.spec.after_element.reset();
  read.spec.after_field = Field{"", Type::kCounter};
  CHECK(Same(read, *Travel(read)));
}

TEST_CASE("Client codec: options survive the wire, timeouts rounded up") {
  using replica::Level;
  for (const Level& level :
       {Level{}, Level::Count(3), Level::Quorum(), Level::All()}) {
    replica::RequestOptions options;
    options.read = level;
    options.write = Level::Count(2);
    options.durability = replica::Durability::kFsync;
    options.timeout = absl::Microseconds(1500);
    capnp::MallocMessageBuilder message;
    auto root = message.initRoot<wire::ExecuteRequest>();
    EncodeExecute({}, options, root);
    const auto call = DecodeExecute(root.asReader());
    REQUIRE(call.ok());
    CHECK(call->options.read == level);
    CHECK(call->options.write == Level::Count(2));
    CHECK(call->options.durability == replica::Durability::kFsync);
    CHECK(call->options.timeout == absl::Milliseconds(2));
  }
}

TEST_CASE(
    "Client codec: durability unsaid stays so; of an older client it is") {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::ExecuteRequest>();
  EncodeExecute({}, {}, root);
  CHECK(!DecodeExecute(root.asReader())->options.durability.has_value());
  // What an older node reads.
  CHECK(root.getOptions().getDurability() == wire::Durability::WAL);
  // An older client sets nothing, and means `wal`.
  root.getOptions().setDurabilityUnsaid(false);
  CHECK(DecodeExecute(root.asReader())->options.durability ==
        replica::Durability::kWal);
}

TEST_CASE("Client codec: what is over a limit is refused by its name") {
  const auto refused = [](const Operation& operation, const char* limit) {
    const absl::Status status = RefusalOf(WriteRequest{{operation}});
    CHECK(absl::IsResourceExhausted(status));
    CHECK_MESSAGE(
        std::string(status.message()).find(limit) != std::string::npos,
        status.ToString());
  };
  Operation operation = Op(Type::kSet, Verb::kAdd);
  operation.elements = {"x"};
  CHECK(RefusalOf(WriteRequest{{operation}}).ok());

  Operation over = operation;
  over.object.bucket.assign(crdt::kBucketBytesMax + 1, 'b');
  refused(over, "bucket_bytes_max");
  over = operation;
  over.object.key.assign(crdt::kKeyBytesMax + 1, 'k');
  refused(over, "key_bytes_max");
  over = operation;
  over.elements[0].assign(crdt::kElementBytesMax + 1, 'e');
  refused(over, "element_bytes_max");
  over = operation;
  over.elements.assign(crdt::kElementsPerOperationMax + 1, "e");
  refused(over, "elements_per_operation_max");
  over = operation;
  over.fields.assign(crdt::kNestingMax + 1, {"f", Type::kSet});
  refused(over, "nesting_max");
  over = operation;
  over.fields = {{std::string(crdt::kFieldBytesMax + 1, 'f'), Type::kSet}};
  refused(over, "field_bytes_max");
  over = Op(Type::kRegister, Verb::kWrite);
  over.value.assign(crdt::kValueBytesMax + 1, 'v');
  refused(over, "value_bytes_max");
  CHECK(absl::IsResourceExhausted(RefusalOf(WriteRequest{
      std::vector<Operation>(crdt::kOperationsPerBatchMax + 1, operation)})));
}

TEST_CASE("Client codec: batches count towards the operations of a call") {
  Operation operation = Op(Type::kCounter, Verb::kAdd);
  operation.amount = 1;
  const ClientOperation batch =
      WriteRequest{std::vector<Operation>(1000, operation)};
  std::vector<const ClientOperation*> operations(10, &batch);
  capnp::MallocMessageBuilder message;
  EncodeExecute(operations, {}, message.initRoot<wire::ExecuteRequest>());
  CHECK(DecodeExecute(message.getRoot<wire::ExecuteRequest>().asReader()).ok());
  const ClientOperation one = WriteRequest{{operation}};
  operations.push_back(&one);
  EncodeExecute(operations, {}, message.initRoot<wire::ExecuteRequest>());
  CHECK(absl::IsResourceExhausted(
      DecodeExecute(message.getRoot<wire::ExecuteRequest>().asReader())
          .status()));
}

TEST_CASE("Client codec: nonsense is refused and leaves its neighbours alone") {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::ExecuteRequest>();
  auto operations = root.initOperations(6);
  const auto object = [](wire::Object::Builder out, wire::ObjectType type) {
    out.setBucket(
        capnp::Data::Reader(reinterpret_cast<const kj::byte*>("b"), 1));
    out.setKey(capnp::Data::Reader(reinterpret_cast<const kj::byte*>("k"), 1));
    out.setType(type);
  };
  auto unknown_type = operations[0].initMutation();
  object(unknown_type.initObject(), static_cast<wire::ObjectType>(77));
  unknown_type.getAction().setClear();
  auto no_type = operations[1].initMutation();
  object(no_type.initObject(), wire::ObjectType::NONE);
  no_type.getAction().setClear();
  auto bad_token = operations[2].initMutation();
  object(bad_token.initObject(), wire::ObjectType::SET);
  bad_token.getAction().setClear();
  bad_token.setToken(
      capnp::Data::Reader(reinterpret_cast<const kj::byte*>("\x09zz"), 3));
  auto increment_of_set = operations[3].initMutation();
  object(increment_of_set.initObject(), wire::ObjectType::SET);
  increment_of_set.getAction().setIncrement(3);
  operations[4].initBatch();
  auto good = operations[5].initMutation();
  object(good.initObject(), wire::ObjectType::SET);
  good.getAction().setClear();

  const auto call = DecodeExecute(root.asReader());
  REQUIRE(call.ok());
  REQUIRE(call->operations.size() == 6);
  for (size_t i = 0; i < 5; ++i) {
    CHECK_MESSAGE(absl::IsInvalidArgument(call->operations[i].status()), i, " ",
                  call->operations[i].status().ToString());
  }
  CHECK(call->operations[5].ok());
}

TEST_CASE("Client codec: an unknown durability or a level of 0 is refused") {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::ExecuteRequest>();
  root.initOptions().setDurability(static_cast<wire::Durability>(9));
  CHECK(absl::IsInvalidArgument(DecodeExecute(root.asReader()).status()));
  root.initOptions().initR().setCount(0);
  CHECK(absl::IsInvalidArgument(DecodeExecute(root.asReader()).status()));
}

TEST_CASE("Client codec: damaged bytes never crash it") {
  // Flips each byte of a valid message in turn; whatever the decoder makes of
  // the result, it returns.
  capnp::MallocMessageBuilder message;
  const ClientOperation batch = WriteRequest{EveryMutation()};
  ReadRequest read;
  read.spec.object = {"b", "k", Type::kMap};
  read.spec.after_field = Field{"f", Type::kSet};
  const ClientOperation second = read;
  const ClientOperation* operations[] = {&batch, &second};
  EncodeExecute(operations, {}, message.initRoot<wire::ExecuteRequest>());
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
  size_t refused = 0;
  for (size_t at = 0; at < words.asBytes().size(); ++at) {
    kj::Array<capnp::word> damaged = kj::heapArray(words.asPtr());
    damaged.asBytes()[at] ^= kj::byte{0xa5};
    try {
      capnp::FlatArrayMessageReader reader(damaged);
      const auto call = DecodeExecute(reader.getRoot<wire::ExecuteRequest>());
      if (!call.ok()) {
        ++refused;
      } else {
        for (const auto& operation : call->operations) {
          refused += operation.ok() ? 0 : 1;
        }
      }
    } catch (const kj::Exception&) {
      ++refused;  // the frame itself, or its root: not the codec's to judge
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("Client codec: results survive the wire, in order") {
  WriteReply write;
  write.receipt = {{replica::NodeId{1}, replica::NodeId{0}},
                   {replica::NodeId{0}},
                   2,
                   replica::Durability::kFsync};
  write.not_observed = {true, false, true};
  write.deltas = 3;
  ReadReply read;
  read.receipt = {{replica::NodeId{2}}, {}, 1, replica::Durability::kWal};
  crdt::View set = ViewOf(Type::kSet);
  set.values = {"a", "b"};
  crdt::View counter = ViewOf(Type::kCounter);
  counter.number = -3;
  crdt::View flag = ViewOf(Type::kDisableFlag);
  flag.present = false;
  flag.flag = true;
  crdt::View inner = ViewOf(Type::kMap);
  inner.fields = {{{"c", Type::kCounter}, counter}};
  read.result.view = ViewOf(Type::kMap);
  read.result.view.fields = {{{"d", Type::kDisableFlag}, flag},
                             {{"m", Type::kMap}, inner},
                             {{"s", Type::kSet}, set}};
  read.result.more = true;
  read.result.token = SomeToken({"b", "k", Type::kSet});
  std::vector<ClientResult> sent = {write, read};
  for (absl::StatusCode code :
       {absl::StatusCode::kInvalidArgument, absl::StatusCode::kDataLoss,
        absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded,
        absl::StatusCode::kFailedPrecondition,
        absl::StatusCode::kResourceExhausted,
        absl::StatusCode::kPermissionDenied}) {
    sent.push_back(absl::Status(code, "why"));
  }
  sent.push_back(replica::WithRetryAfter(absl::ResourceExhaustedError("full"),
                                         absl::Milliseconds(70)));
  sent.push_back(MarkMaybe(absl::UnavailableError("lost")));

  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::ExecuteReply>();
  EncodeResults(sent, root);
  const auto received = DecodeResults(root.asReader());
  REQUIRE(received.ok());
  REQUIRE(received->size() == sent.size());
  for (size_t i = 0; i < sent.size(); ++i) {
    CHECK_MESSAGE(Same(sent[i], (*received)[i]), i);
  }
  CHECK_FALSE(MayHaveTakenEffect((*received)[4].status()));
  CHECK(MayHaveTakenEffect((*received)[5].status()));  // DeadlineExceeded
  CHECK(MayHaveTakenEffect(received->back().status()));
  const absl::Status& busy = (*received)[sent.size() - 2].status();
  CHECK(RetryAfterOf(busy) == absl::Milliseconds(70));
  CHECK_FALSE(RetryAfterOf((*received)[7].status()).has_value());
}

TEST_CASE("Client codec: a hint to ask again is for what had no effect") {
  const auto received = [](wire::ErrorCode code, bool maybe, uint32_t ms) {
    capnp::MallocMessageBuilder message;
    auto error = message.initRoot<wire::Error>();
    error.setCode(code);
    error.setMaybe(maybe);
    error.setRetryAfterMs(ms);
    return RetryAfterOf(DecodeError(error.asReader()));
  };
  const auto busy = wire::ErrorCode::RESOURCE_EXHAUSTED;
  CHECK(received(busy, false, 5) == absl::Milliseconds(5));
  CHECK(received(busy, false, 4'000'000'000) == replica::kRetryAfterMax);
  CHECK_FALSE(received(busy, false, 0).has_value());
  CHECK_FALSE(received(busy, true, 5).has_value());
  CHECK_FALSE(received(wire::ErrorCode::UNAVAILABLE, false, 5).has_value());
}

TEST_CASE("Client codec: a failed call fails as a whole") {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::ExecuteReply>();
  EncodeFailure(absl::ResourceExhaustedError("busy"), root);
  CHECK(DecodeResults(root.asReader()).status() ==
        absl::ResourceExhaustedError("busy"));
}

TEST_CASE("Client codec: reads that do not fit a reply are deferred") {
  ReadReply large;
  large.result.view = ViewOf(Type::kSet);
  large.result.view.values.assign(30, std::string(crdt::kElementBytesMax, 'x'));
  const std::vector<ClientResult> sent = {large, large, WriteReply{}};
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::ExecuteReply>();
  EncodeResults(sent, root);
  CHECK(capnp::computeSerializedSizeInWords(message) * 8 <
        kReplyWireBytesMax + (64 << 10));
  const auto received = DecodeResults(root.asReader());
  REQUIRE(received.ok());
  CHECK(Same(sent[0], (*received)[0]));
  CHECK(IsDeferredRead((*received)[1].status()));
  CHECK((*received)[2].ok());

  large.result.view.values.assign(60, std::string(crdt::kElementBytesMax, 'x'));
  const std::vector<ClientResult> alone = {large};
  EncodeResults(alone, root);
  CHECK(absl::IsResourceExhausted(
      DecodeResults(root.asReader())->front().status()));
}

TEST_CASE("Client codec: a view nested deeper than any object is refused") {
  capnp::MallocMessageBuilder message;
  auto results = message.initRoot<wire::ExecuteReply>().initResults(1);
  auto view = results[0].initRead().initView();
  for (size_t depth = 0; depth <= crdt::kNestingMax; ++depth) {
    view.setType(wire::ObjectType::MAP);
    auto fields = view.initFields(1);
    fields[0].initField().setType(wire::ObjectType::MAP);
    view = fields[0].initView();
  }
  view.setType(wire::ObjectType::MAP);
  const auto received =
      DecodeResults(message.getRoot<wire::ExecuteReply>().asReader());
  REQUIRE(received.ok());
  CHECK(absl::IsResourceExhausted(received->front().status()));
}

TEST_CASE("Client codec: lists survive the wire, and pages are cut to fit") {
  replica::ListRequest request{"b", "pre", ObjectId{"b", "pre1", Type::kMap},
                               7};
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::ListRequest>();
  replica::RequestOptions options;
  options.read = replica::Level::Count(2);
  options.timeout = absl::Milliseconds(70);
  EncodeList(request, options, root);
  const auto call = DecodeList(root.asReader());
  REQUIRE(call.ok());
  CHECK(call->options.read == options.read);
  CHECK(call->options.timeout == options.timeout);
  const replica::ListRequest* received = &call->request;
  CHECK(received->bucket == request.bucket);
  CHECK(received->prefix == request.prefix);
  CHECK(received->after == request.after);
  CHECK(received->limit == request.limit);

  replica::ListReply page;
  page.objects = {{"b", "k1", Type::kSet}, {"b", "k2", Type::kMap}};
  auto reply = message.initRoot<wire::ListReply>();
  EncodeListReply(page, reply);
  CHECK(DecodeListReply(reply.asReader())->objects == page.objects);
  CHECK_FALSE(DecodeListReply(reply.asReader())->more);
  page.objects.assign(1000,
                      {"b", std::string(crdt::kKeyBytesMax, 'k'), Type::kSet});
  EncodeListReply(page, reply);
  const auto cut = DecodeListReply(reply.asReader());
  REQUIRE(cut.ok());
  CHECK(cut->more);
  CHECK(cut->objects.size() > 500);
  CHECK(cut->objects.size() < 1000);
  EncodeListReply(absl::UnavailableError("no"), reply);
  CHECK(DecodeListReply(reply.asReader()).status() ==
        absl::UnavailableError("no"));
}

TEST_CASE("Client codec: hello, status and digests survive the wire") {
  capnp::MallocMessageBuilder message;
  auto hello = message.initRoot<wire::HelloReply>();
  EncodeHello({3, 1, "dovetaild 0.1.0", replica::NodeId{2}, "c"}, hello);
  const auto greeting = DecodeHello(hello.asReader());
  REQUIRE(greeting.ok());
  CHECK(greeting->protocol_version == 3);
  CHECK(greeting->oldest_protocol_version == 1);
  CHECK(greeting->server == "dovetaild 0.1.0");
  CHECK(greeting->node == replica::NodeId{2});
  CHECK(greeting->node_name == "c");

  NodeStatus status;
  status.id = replica::NodeId{1};
  status.name = "b";
  status.version = "0.1.0";
  status.uptime = absl::Seconds(90);
  status.actor = crdt::ActorId{0x3f00000000000001};
  status.partitions = 256;
  status.members = {{replica::NodeId{0}, "a", "127.0.0.1:7101", true},
                    {replica::NodeId{1}, "b", "127.0.0.1:7102", false}};
  status.shards.resize(2);
  status.shards[1].deltas_applied = 17;
  status.shards[1].log_gaps = 1;
  status.storage = {{"bytes_on_disk", 1234}};
  auto out = message.initRoot<wire::NodeStatus>();
  EncodeStatus(status, out);
  const auto back = DecodeStatus(out.asReader());
  REQUIRE_MESSAGE(back.ok(), back.status().ToString());
  CHECK(Same(status, *back));

  NodeDigests digests;
  digests.id = replica::NodeId{1};
  digests.name = "b";
  digests.partitions = {
      {replica::PartitionId{0}, {1, 2}, 3, {4, 5}, 6, 7, 8},
      {replica::PartitionId{5}, {9, 10}, 11, {12, 13}, 14, 15, 16}};
  auto wire = message.initRoot<wire::NodeDigests>();
  EncodeDigests(digests, 0, wire);
  CHECK(DecodeDigests(wire.asReader())->partitions == digests.partitions);
  EncodeDigests(digests, 1, wire);
  const auto rest = DecodeDigests(wire.asReader());
  REQUIRE(rest.ok());
  REQUIRE(rest->partitions.size() == 1);
  CHECK(rest->partitions[0] == digests.partitions[1]);
  CHECK_FALSE(rest->more);
}

}  // namespace
}  // namespace dovetail::net
