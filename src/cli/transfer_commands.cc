#include "src/cli/transfer_commands.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "src/cli/words.h"

namespace dovetail::cli {
namespace {

using Json = nlohmann::ordered_json;
using net::ClusterMember;
using replica::TransferProgress;

// A member and what it said, or why it said nothing.
struct Asked {
  const ClusterMember* member = nullptr;
  absl::StatusOr<std::vector<TransferProgress>> transfers;
};

absl::StatusOr<std::vector<TransferProgress>> Ask(const ClusterMember& member) {
  if (member.client_address.empty()) {
    return absl::UnavailableError("nobody knows its address");
  }
  if (!member.reachable) {
    return absl::UnavailableError(
        absl::StrCat("it is ", net::ToString(member.condition)));
  }
  ClientOptions options;
  options.name = "dovetail command";
  options.route = false;
  auto client = Client::Connect({member.client_address}, options);
  if (!client.ok()) return client.status();
  auto status = (*client)->Status();
  if (!status.ok()) return status.status();
  return std::move(status->transfers);
}

// All of them together.
struct Overall {
  uint64_t partitions = 0;
  uint64_t bytes = 0;
  uint64_t bytes_per_second = 0;
  std::optional<absl::Duration> left;  // of the slowest of which it is known
  uint64_t unknown = 0;                // partitions of which it is not
  uint64_t silent = 0;                 // members that did not answer
};

Overall Sum(const std::vector<Asked>& all) {
  Overall sum;
  for (const Asked& asked : all) {
    if (!asked.transfers.ok()) {
      ++sum.silent;
      continue;
    }
    for (const TransferProgress& one : *asked.transfers) {
      ++sum.partitions;
      sum.bytes += one.transfer.bytes;
      sum.bytes_per_second += one.bytes_per_second;
      if (!one.left.has_value()) {
        ++sum.unknown;
      } else if (!sum.left.has_value() || *sum.left < *one.left) {
        sum.left = one.left;
      }
    }
  }
  return sum;
}

std::string SourceName(const ClusterView& view, const TransferProgress& one) {
  if (!one.transfer.source.has_value()) return "";
  for (const ClusterMember& member : view.members) {
    if (member.id == *one.transfer.source) return member.name;
  }
  return absl::StrFormat("%016x", replica::Index(*one.transfer.source));
}

std::string TimeText(absl::Duration time) {
  return absl::FormatDuration(absl::Trunc(time, absl::Seconds(1)));
}

void Print(const ClusterView& view, const std::vector<Asked>& all,
           std::ostream& out) {
  for (const Asked& asked : all) {
    if (!asked.transfers.ok()) {
      out << "  " << asked.member->name
          << " did not say: " << asked.transfers.status().message() << "\n";
      continue;
    }
    for (const TransferProgress& one : *asked.transfers) {
      const std::string source = SourceName(view, one);
      out << absl::StrFormat(
          "  partition %4d to %-12s %s, %d events lack, %3.0f%% of the keys, "
          "%s at %s/s%s\n",
          replica::Index(one.transfer.partition), asked.member->name,
          source.empty() ? "by logs, or waiting"
                         : absl::StrCat("from ", source),
          one.transfer.events_lacking, 100 * one.transfer.ranges_done,
          BytesText(one.transfer.bytes), BytesText(one.bytes_per_second),
          one.left ? absl::StrCat(", ", TimeText(*one.left), " left") : "");
    }
  }
  const Overall sum = Sum(all);
  if (sum.partitions == 0) {
    out << (sum.silent == 0 ? "nothing is on its way"
                            : "of those that answered nobody waits for "
                              "anything")
        << "\n";
  } else {
    out << sum.partitions
        << " partitions are on their way: " << BytesText(sum.bytes)
        << " came by ranges, " << BytesText(sum.bytes_per_second) << "/s";
    if (sum.left) out << ", " << TimeText(*sum.left) << " left";
    if (sum.unknown > 0) {
      out << (sum.left ? ", and who knows of " : ", who knows how long for ")
          << sum.unknown;
    }
    out << "\n";
  }
  if (view.transfers_paused) {
    out << "transfers by ranges are paused: `dovetail cluster resume`\n";
  }
}

Json TransferJson(const ClusterView& view, const Asked& asked,
                  const TransferProgress& one) {
  const std::string source = SourceName(view, one);
  Json json = {{"partition", replica::Index(one.transfer.partition)},
               {"to", asked.member->name},
               {"from", source.empty() ? Json(nullptr) : Json(source)},
               {"events_lacking", one.transfer.events_lacking},
               {"ranges_done", one.transfer.ranges_done},
               {"bytes", one.transfer.bytes},
               {"bytes_per_second", one.bytes_per_second},
               {"left_ms", nullptr}};
  if (one.left) json["left_ms"] = absl::ToInt64Milliseconds(*one.left);
  return json;
}

std::string ToJson(const ClusterView& view, const std::vector<Asked>& all) {
  Json transfers = Json::array();
  Json silent = Json::array();
  for (const Asked& asked : all) {
    if (!asked.transfers.ok()) {
      silent.push_back(
          {{"name", asked.member->name},
           {"why", std::string(asked.transfers.status().message())}});
      continue;
    }
    for (const TransferProgress& one : *asked.transfers) {
      transfers.push_back(TransferJson(view, asked, one));
    }
  }
  const Overall sum = Sum(all);
  Json json = {{"transfers", transfers},
               {"silent", silent},
               {"paused", view.transfers_paused},
               {"partitions", sum.partitions},
               {"bytes", sum.bytes},
               {"bytes_per_second", sum.bytes_per_second},
               {"left_ms", nullptr}};
  if (sum.left && sum.unknown == 0) {
    json["left_ms"] = absl::ToInt64Milliseconds(*sum.left);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Exit RunClusterTransfers(Client& client, const Output& output) {
  const auto view = client.Cluster();
  if (!view.ok()) return Fail(output, OperationKind::kRead, view.status());
  std::vector<Asked> all;
  for (const ClusterMember& member : view->members) {
    if (member.in_ring) all.push_back({&member, Ask(member)});
  }
  if (output.json) {
    output.out << ToJson(*view, all) << "\n";
  } else {
    Print(*view, all, output.out);
  }
  return Sum(all).silent == 0 ? Exit::kOk : Exit::kFailed;
}

}  // namespace dovetail::cli
