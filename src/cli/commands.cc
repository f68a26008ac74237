#include "src/cli/commands.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "crdt/check.h"
#include "crdt/text.h"
#include "replica/hash.h"
#include "src/cli/json.h"
#include "src/cli/words.h"

namespace dovetail::cli {
namespace {

// Reads on from `reply` until there is nothing more, and joins the pages. A
// token then lists what all of them saw.
Result ReadOn(Caller& caller, replica::ReadRequest request,
              replica::ReadReply reply, const CallOptions& call) {
  while (reply.result.more) {
    View& view = reply.result.view;
    if (!view.values.empty()) {
      request.spec.after_element = view.values.back();
    } else if (!view.fields.empty()) {
      request.spec.after_field = view.fields.back().first;
    } else {
      break;
    }
    Result next = caller.Run(request, call);
    if (!next.ok()) return next;
    auto& page = std::get<replica::ReadReply>(*next).result;
    if (page.view.values.empty() && page.view.fields.empty()) break;
    std::move(page.view.values.begin(), page.view.values.end(),
              std::back_inserter(view.values));
    std::move(page.view.fields.begin(), page.view.fields.end(),
              std::back_inserter(view.fields));
    if (reply.result.token.has_value() && page.token.has_value()) {
      reply.result.token->leaves.merge(page.token->leaves);
    }
    reply.result.more = page.more;
  }
  reply.result.more = false;
  return reply;
}

// A read to the end, unless it has a limit of its own.
Result ReadAll(Caller& caller, const replica::ReadRequest& request,
               const CallOptions& call) {
  Result first = caller.Run(request, call);
  if (!first.ok() || request.spec.limit != 0) return first;
  return ReadOn(caller, request,
                std::get<replica::ReadReply>(*std::move(first)), call);
}

void PrintWrite(const replica::WriteReply& reply, std::ostream& out) {
  const size_t acks = reply.receipt.nodes.size();
  out << "ok, " << acks
      << (acks == 1 ? " acknowledgement" : " acknowledgements");
  if (reply.receipt.durability == Durability::kFsync) out << ", on disk";
  if (!reply.not_observed.empty() && reply.not_observed.front()) {
    out << "; nothing to remove was observed";
  }
  out << "\n";
}

void PrintRead(const replica::ReadRequest& request,
               const replica::ReadReply& reply, std::ostream& out) {
  const View& view = reply.result.view;
  if (request.spec.element.has_value()) {
    out << (view.flag ? "true" : "false") << "\n";
  } else {
    out << crdt::ToString(view) << "\n";
  }
  if (reply.result.more) out << "(there is more)\n";
  if (reply.result.token.has_value()) {
    out << "token: " << TokenText(*reply.result.token) << "\n";
  }
}

// The types under (bucket, key), in their order, with all that the session has
// seen. Each type is read: that concerns one partition, where a listing waits
// for all of which the session has seen anything.
absl::StatusOr<std::vector<ObjectId>> TypesSeen(Caller& caller,
                                                const std::string& bucket,
                                                const std::string& key,
                                                const CallOptions& call) {
  std::vector<ObjectId> out;
  for (const Type type : crdt::kAllTypes) {
    replica::ReadRequest request;
    request.spec.object = {bucket, key, type};
    request.spec.limit = 1;
    const Result result = caller.Run(request, call);
    if (!result.ok()) return result.status();
    if (!std::get<replica::ReadReply>(*result).result.view.present) continue;
    out.push_back(request.spec.object);
  }
  return out;
}

// The types under (bucket, key), in their order.
absl::StatusOr<std::vector<ObjectId>> TypesOf(Caller& caller,
                                              const std::string& bucket,
                                              const std::string& key,
                                              const CallOptions& call) {
  if (caller.has_session()) return TypesSeen(caller, bucket, key, call);
  // A key comes before all longer ones that it is a prefix of.
  DOVETAIL_ASSIGN_OR_RETURN(
      Listing listing,
      caller.client().List(bucket, key, std::nullopt,
                           static_cast<uint32_t>(std::size(crdt::kAllTypes)),
                           call));
  std::vector<ObjectId> out;
  for (ObjectId& object : listing.objects) {
    if (object.key == key) out.push_back(std::move(object));
  }
  return out;
}

Operation DeleteOf(const ObjectId& object, const std::optional<Token>& token) {
  Mutation mutation;
  mutation.object = object;
  mutation.verb = crdt::Verb::kDelete;
  mutation.observed = token;
  replica::WriteRequest request;
  request.operations.push_back(std::move(mutation));
  return request;
}

void PrintShards(const NodeStatus& status, std::ostream& out) {
  replica::ShardStats sum;
  for (const replica::ShardStats& shard : status.shards) {
    sum.deltas_applied += shard.deltas_applied;
    sum.operations_minted += shard.operations_minted;
    sum.commits += shard.commits;
    sum.commits_failed += shard.commits_failed;
    sum.fsyncs += shard.fsyncs;
    sum.cache_hits += shard.cache_hits;
    sum.cache_misses += shard.cache_misses;
    sum.sync_deltas_sent += shard.sync_deltas_sent;
    sum.read_mismatches += shard.read_mismatches;
    sum.corruptions += shard.corruptions;
    sum.log_gaps += shard.log_gaps;
    sum.quarantined += shard.quarantined;
  }
  out << "shards: " << status.shards.size() << "\n"
      << "  deltas applied " << sum.deltas_applied << ", minted here "
      << sum.operations_minted << ", sent to sync " << sum.sync_deltas_sent
      << "\n"
      << "  commits " << sum.commits << " (" << sum.commits_failed
      << " failed), fsyncs " << sum.fsyncs << "\n"
      << "  row cache hits " << sum.cache_hits << ", misses "
      << sum.cache_misses << "\n"
      << "  reads that found replicas apart " << sum.read_mismatches
      << ", corruptions " << sum.corruptions << ", log gaps " << sum.log_gaps
      << ", quarantined partitions " << sum.quarantined << "\n";
}

std::string Hex(const replica::Hash128& hash) {
  return absl::StrFormat("%016x%016x", hash.high, hash.low);
}

}  // namespace

Exit Fail(const Output& output, OperationKind kind,
          const absl::Status& status) {
  if (output.json) {
    output.out << ErrorJson(kind, status) << "\n";
  } else {
    output.error << "dovetail: " << CodeName(status) << ": " << status.message()
                 << "\n";
  }
  return kind == OperationKind::kMutation && MayHaveTakenEffect(status)
             ? Exit::kMaybe
             : Exit::kFailed;
}

Exit RunOperation(Caller& caller, const Operation& operation,
                  const CallOptions& call, const Output& output) {
  if (const auto* read = std::get_if<replica::ReadRequest>(&operation)) {
    const Result result = ReadAll(caller, *read, call);
    if (output.json) {
      output.out << ResultJson(std::nullopt, KindOf(operation), result) << "\n";
      return result.ok() ? Exit::kOk : Exit::kFailed;
    }
    if (!result.ok()) {
      return Fail(output, OperationKind::kRead, result.status());
    }
    PrintRead(*read, std::get<replica::ReadReply>(*result), output.out);
    return Exit::kOk;
  }
  const Result result = caller.Run(operation, call);
  if (!result.ok()) {
    return Fail(output, OperationKind::kMutation, result.status());
  }
  if (output.json) {
    output.out << ResultJson(std::nullopt, OperationKind::kMutation, result)
               << "\n";
  } else {
    PrintWrite(std::get<replica::WriteReply>(*result), output.out);
  }
  return Exit::kOk;
}

Exit RunGet(Caller& caller, const std::string& bucket, const std::string& key,
            const CallOptions& call, const Output& output) {
  const auto objects = TypesOf(caller, bucket, key, call);
  if (!objects.ok())
    return Fail(output, OperationKind::kRead, objects.status());
  std::string json = "{";
  bool any = false;
  for (const ObjectId& object : *objects) {
    replica::ReadRequest request;
    request.spec.object = object;
    const Result result = ReadAll(caller, request, call);
    if (!result.ok()) {
      return Fail(output, OperationKind::kRead, result.status());
    }
    const View& view = std::get<replica::ReadReply>(*result).result.view;
    if (!view.present) continue;  // went between the listing and the read
    const auto name = crdt::TypeName(object.type);
    if (output.json) {
      absl::StrAppend(&json, any ? "," : "", "\"", name, "\":", ViewJson(view));
    } else {
      output.out << name << ": " << crdt::ToString(view) << "\n";
    }
    any = true;
  }
  if (output.json) {
    output.out << json << "}\n";
  } else if (!any) {
    output.out << "absent\n";
  }
  return Exit::kOk;
}

Exit RunDelete(Caller& caller, const std::string& bucket,
               const std::string& key, std::optional<Type> type,
               const std::optional<Token>& token, const CallOptions& call,
               const Output& output) {
  std::vector<ObjectId> objects;
  if (type.has_value()) {
    objects.push_back({bucket, key, *type});
  } else {
    auto found = TypesOf(caller, bucket, key, call);
    if (!found.ok()) return Fail(output, OperationKind::kRead, found.status());
    objects = *std::move(found);
  }
  Exit worst = Exit::kOk;
  for (const ObjectId& object : objects) {
    if (!output.json && !type.has_value()) {
      output.out << crdt::TypeName(object.type) << ": ";
    }
    const Exit exit =
        RunOperation(caller, DeleteOf(object, token), call, output);
    worst = std::max(worst, exit);
  }
  if (objects.empty() && !output.json) output.out << "absent\n";
  return worst;
}

Exit RunTtl(Caller& caller, const ObjectId& object, const CallOptions& call,
            const Output& output) {
  replica::ReadRequest request;
  request.spec.object = object;
  request.spec.limit = 1;
  const Result result = caller.Run(request, call);
  if (!result.ok()) {
    return Fail(output, OperationKind::kRead, result.status());
  }
  const auto& read = std::get<replica::ReadReply>(*result).result;
  const absl::Time at =
      absl::FromUnixMillis(static_cast<int64_t>(read.expires_ms));
  // By this machine's clock: the nodes say when, not how long it is until then.
  const absl::Duration left = std::max(absl::ZeroDuration(), at - absl::Now());
  const bool expires = read.view.present && read.expires_ms > 0;
  if (output.json) {
    output.out << TtlJson(
                      read.view.present,
                      expires ? std::optional(read.expires_ms) : std::nullopt,
                      left)
               << "\n";
  } else if (!read.view.present) {
    output.out << "absent\n";
  } else if (!expires) {
    output.out << "never\n";
  } else {
    output.out << absl::FormatDuration(absl::Trunc(left, absl::Milliseconds(1)))
               << " ("
               << absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", at,
                                   absl::UTCTimeZone())
               << ")\n";
  }
  return Exit::kOk;
}

Exit RunKeys(Caller& caller, const KeysOptions& options,
             const CallOptions& call, const Output& output) {
  std::optional<ObjectId> after;
  if (options.after.has_value()) {
    // Without a type: after the last of them.
    after = ObjectId{options.bucket, *options.after,
                     options.after_type.value_or(Type::kMap)};
  }
  constexpr uint64_t kPage = 1000;
  uint64_t left = options.limit.value_or(UINT64_MAX);
  bool more = true;
  while (more && left > 0) {
    auto page = caller.List(options.bucket, options.prefix, after,
                            static_cast<uint32_t>(std::min(left, kPage)), call);
    if (!page.ok()) {
      return Fail(output, OperationKind::kRead, page.status());
    }
    for (const ObjectId& object : page->objects) {
      if (output.json) {
        output.out << ObjectJson(object) << "\n";
      } else {
        output.out << crdt::Word(object.key) << " "
                   << crdt::TypeName(object.type) << "\n";
      }
    }
    left -= std::min<uint64_t>(left, page->objects.size());
    more = page->more && !page->objects.empty();
    if (!page->objects.empty()) after = page->objects.back();
  }
  if (more && after.has_value() && !output.json) {
    output.error << "there is more: --after " << crdt::Word(after->key)
                 << " --after-type " << crdt::TypeName(after->type) << "\n";
  }
  return Exit::kOk;
}

Exit RunStatus(Client& client, const Output& output) {
  const auto status = client.Status();
  if (!status.ok()) {
    return Fail(output, OperationKind::kRead, status.status());
  }
  if (output.json) {
    output.out << StatusJson(*status) << "\n";
    return Exit::kOk;
  }
  output.out << "node " << status->name << " ("
             << absl::StrFormat("%016x", replica::Index(status->id))
             << "), version " << status->version << ", up "
             << absl::FormatDuration(
                    absl::Trunc(status->uptime, absl::Seconds(1)))
             << "\nactor "
             << absl::StrFormat("%016x", crdt::ActorBits(status->actor))
             << ", partitions " << status->partitions << "\nmembers:\n";
  for (const net::MemberStatus& member : status->members) {
    output.out << "  " << member.name << " "
               << (member.address.empty() ? "-" : member.address) << " "
               << (member.up ? "up" : "DOWN") << "\n";
  }
  PrintShards(*status, output.out);
  output.out << "storage:\n";
  for (const auto& [name, value] : status->storage) {
    output.out << "  " << name << " " << value << "\n";
  }
  return Exit::kOk;
}

Exit RunDigest(Client& client, const Output& output) {
  const auto digests = client.Digests();
  if (!digests.ok()) {
    return Fail(output, OperationKind::kRead, digests.status());
  }
  if (output.json) {
    output.out << DigestsJson(*digests) << "\n";
    return Exit::kOk;
  }
  replica::Hash128 rows;
  replica::Hash128 contexts;
  uint64_t entries = 0;
  uint64_t events = 0;
  for (const replica::PartitionDigest& digest : digests->partitions) {
    rows = replica::Add(rows, digest.rows);
    contexts = replica::Add(contexts, digest.context);
    entries += digest.row_entries;
    events += digest.events;
    if (digest.events == 0) continue;
    output.out << absl::StrFormat(
        "%5d  rows %s (%d)  context %s (%d events)  log %d (%d bytes)\n",
        replica::Index(digest.partition), Hex(digest.rows), digest.row_entries,
        Hex(digest.context), digest.events, digest.log_entries,
        digest.log_bytes);
  }
  output.out << "  sum  rows " << Hex(rows) << " (" << entries << ")  context "
             << Hex(contexts) << " (" << events << " events) in "
             << digests->partitions.size() << " partitions of node "
             << digests->name << "\n";
  return Exit::kOk;
}

Job OfClient(ClientJob run) {
  return [run = std::move(run)](Caller& caller, const Output& output) {
    return run(caller.client(), output);
  };
}

}  // namespace dovetail::cli
