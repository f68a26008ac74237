#include "src/cli/bucket_commands.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "crdt/text.h"
#include "replica/cluster_config.h"
#include "src/cli/help.h"
#include "src/cli/words.h"

namespace dovetail::cli {
namespace {

using Json = nlohmann::ordered_json;
using replica::BucketProperty;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

struct Row {
  const char* name;
  std::string value;  // "default": nothing said
};

std::vector<Row> RowsOf(const BucketSettings& settings) {
  const BucketProperties is = replica::PropertiesOf(settings);
  const auto quorums = [](Quorums value) {
    if (value == Quorums::kDefault) return "default";
    return value == Quorums::kStrict ? "strict" : "sloppy";
  };
  const auto durability = [](std::optional<Durability> value) {
    if (!value) return "default";
    return *value == Durability::kFsync ? "fsync" : "wal";
  };
  return {
      {"r", replica::ToString(is.read)},
      {"w", replica::ToString(is.write)},
      {"quorums", quorums(is.quorums)},
      {"durability", durability(is.durability)},
      {"timeout", is.timeout == absl::ZeroDuration()
                      ? "default"
                      : absl::FormatDuration(is.timeout)},
      {"value_bytes_max",
       is.value_bytes_max == 0 ? "default" : absl::StrCat(is.value_bytes_max)},
      {"ttl", is.ttl_ms == 0 ? "default"
                             : absl::FormatDuration(absl::Milliseconds(
                                   static_cast<int64_t>(is.ttl_ms)))},
  };
}

Json ViewJson(const BucketView& view) {
  Json json = {{"bucket", view.bucket}, {"configured", view.configured}};
  Json properties = Json::object();
  for (const Row& row : RowsOf(view.settings)) {
    if (row.value != "default") properties[row.name] = row.value;
  }
  json["properties"] = properties;
  if (view.configured) json["changed_ms"] = view.changed_ms;
  return json;
}

// One line: what is not default.
std::string ViewText(const BucketView& view) {
  if (!view.configured) return "(no properties)";
  std::vector<std::string> words;
  for (const Row& row : RowsOf(view.settings)) {
    if (row.value == "default") continue;
    words.push_back(absl::StrCat(row.name, "=", row.value));
  }
  return words.empty() ? "(all default)" : absl::StrJoin(words, " ");
}

Exit RunBucketChange(Client& client, const BucketRequest& request,
                     const Output& output) {
  const auto page = client.Buckets(request);
  if (!page.ok()) return Fail(output, OperationKind::kMutation, page.status());
  if (page->buckets.empty()) {
    output.out << (output.json ? "{\"ok\":true}" : "deleted") << "\n";
    return Exit::kOk;
  }
  const BucketView& view = page->buckets.front();
  if (output.json) {
    output.out << Dump(ViewJson(view)) << "\n";
  } else {
    output.out << crdt::Word(view.bucket) << " " << ViewText(view) << "\n";
  }
  return Exit::kOk;
}

// How many replicas a key has, as the ring says: "3", or by region.
absl::StatusOr<replica::RingSpec> RingOf(Client& client) {
  DOVETAIL_ASSIGN_OR_RETURN(const ClusterView view, client.Cluster());
  DOVETAIL_ASSIGN_OR_RETURN(const replica::ClusterConfig config,
                            replica::DecodeClusterConfig(view.config));
  if (!config.ring) return absl::FailedPreconditionError("there is no ring");
  return config.ring->ring();
}

Exit RunBucketDescribe(Client& client, const std::string& bucket,
                       const Output& output) {
  const auto page = client.Buckets(net::DescribeBucket{bucket});
  if (!page.ok()) return Fail(output, OperationKind::kRead, page.status());
  const auto ring = RingOf(client);
  if (!ring.ok()) return Fail(output, OperationKind::kRead, ring.status());
  const BucketView view = page->buckets.empty() ? BucketView{bucket, false, {}}
                                                : page->buckets.front();
  if (output.json) {
    Json json = ViewJson(view);
    json["replicas"] = ring->replicas;
    Json regions = Json::object();
    for (const auto& [region, replicas] : ring->replicas_in_region) {
      regions[region] = replicas;
    }
    json["replicas_in_region"] = regions;
    output.out << Dump(json) << "\n";
    return Exit::kOk;
  }
  output.out << crdt::Word(bucket)
             << (view.configured ? ""
                                 : ": no properties; the nodes' defaults apply")
             << "\n";
  for (const Row& row : RowsOf(view.settings)) {
    output.out << "  " << row.name << " " << row.value << "\n";
  }
  output.out << "  replicas " << ring->replicas << " (N, of the ring";
  for (const auto& [region, replicas] : ring->replicas_in_region) {
    output.out << "; " << region << " " << replicas;
  }
  output.out << ")\n";
  if (view.configured) {
    output.out << "  changed "
               << absl::FormatTime("%Y-%m-%d %H:%M:%S",
                                   absl::FromUnixMillis(
                                       static_cast<int64_t>(view.changed_ms)),
                                   absl::UTCTimeZone())
               << " UTC\n";
  }
  return Exit::kOk;
}

Exit RunBucketList(Client& client, bool in_use, const Output& output) {
  net::ListBuckets request{std::nullopt, in_use};
  bool more = true;
  while (more) {
    const auto page = client.Buckets(request);
    if (!page.ok()) return Fail(output, OperationKind::kRead, page.status());
    for (const BucketView& view : page->buckets) {
      if (output.json) {
        output.out << Dump(ViewJson(view)) << "\n";
      } else {
        output.out << crdt::Word(view.bucket) << " " << ViewText(view) << "\n";
      }
      request.after = view.bucket;
    }
    more = page->more && !page->buckets.empty();
  }
  if (!output.json && !in_use) {
    output.error << "(those with properties; --in-use shows the others too)\n";
  }
  return Exit::kOk;
}

// What the options of `bucket` itself were parsed into.
struct Flags {
  bool sloppy = false;
  bool strict = false;
  std::string value_bytes_max;
  std::string ttl;
  bool in_use = false;
  bool keep_objects = false;
};

absl::StatusOr<ClientJob> ChangeJob(BucketChange::Kind kind,
                                    const std::string& bucket,
                                    BucketWords words, const Flags& flags) {
  if (flags.sloppy || flags.strict) {
    if (words.quorums) {
      return absl::InvalidArgumentError(
          "--quorums, --sloppy and --strict exclude each other");
    }
    words.quorums = flags.sloppy ? "sloppy" : "strict";
  }
  if (!flags.value_bytes_max.empty()) {
    words.value_bytes_max = flags.value_bytes_max;
  }
  if (!flags.ttl.empty()) words.ttl = flags.ttl;
  DOVETAIL_ASSIGN_OR_RETURN(BucketSettings settings, ParseSettings(words));
  if (kind == BucketChange::Kind::kUpdate && settings.empty()) {
    return absl::InvalidArgumentError("`bucket update` of what? See --help");
  }
  return [change = BucketChange{kind, bucket, std::move(settings)}](
             Client& client, const Output& output) {
    return RunBucketChange(client, change, output);
  };
}

}  // namespace

absl::StatusOr<BucketSettings> ParseSettings(const BucketWords& words) {
  if (words.here) {
    return absl::InvalidArgumentError("a bucket has no property --here");
  }
  BucketSettings settings;
  if (words.r) {
    DOVETAIL_ASSIGN_OR_RETURN(const Level level, ParseLevel(*words.r));
    settings[BucketProperty::kRead] = replica::LevelNumber(level);
  }
  if (words.w) {
    DOVETAIL_ASSIGN_OR_RETURN(const Level level, ParseLevel(*words.w));
    settings[BucketProperty::kWrite] = replica::LevelNumber(level);
  }
  if (words.quorums) {
    DOVETAIL_ASSIGN_OR_RETURN(const Quorums quorums,
                              ParseQuorums(*words.quorums));
    settings[BucketProperty::kQuorums] = static_cast<uint64_t>(quorums);
  }
  if (words.durability) {
    uint64_t& value = settings[BucketProperty::kDurability];
    if (*words.durability != "default") {
      DOVETAIL_ASSIGN_OR_RETURN(const Durability durability,
                                ParseDurability(*words.durability));
      value = 1 + static_cast<uint64_t>(durability);
    }
  }
  if (words.timeout) {
    uint64_t& value = settings[BucketProperty::kTimeout];
    if (*words.timeout != "default") {
      DOVETAIL_ASSIGN_OR_RETURN(const absl::Duration timeout,
                                ParseTimeout(*words.timeout));
      value = static_cast<uint64_t>(absl::ToInt64Milliseconds(
          absl::Ceil(timeout, absl::Milliseconds(1))));
    }
  }
  if (words.value_bytes_max) {
    uint32_t value = 0;
    if (*words.value_bytes_max != "default" &&
        (!absl::SimpleAtoi(*words.value_bytes_max, &value) || value == 0)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "not a number of bytes: ", crdt::QuoteJson(*words.value_bytes_max)));
    }
    settings[BucketProperty::kValueBytesMax] = value;
  }
  if (words.ttl) {
    uint64_t& value = settings[BucketProperty::kTtl];
    if (*words.ttl != "default") {
      DOVETAIL_ASSIGN_OR_RETURN(const int64_t ttl, ParseTtl(*words.ttl));
      value = static_cast<uint64_t>(ttl);
    }
  }
  return settings;
}

void AddBucketCommands(
    CLI::App& app, std::string& bucket, std::function<BucketWords()> said,
    std::function<void(std::function<absl::StatusOr<ClientJob>()>)> choose) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* group = app.add_subcommand(
      "bucket", "what buckets say for requests that leave it unsaid");
  group->fallthrough();
  group->require_subcommand(1, 1);
  const auto add = [&](const char* name, const char* help) {
    CLI::App* command = group->add_subcommand(name, help);
    command->fallthrough();
    return command;
  };
  const auto change = [&](const char* name, const char* help,
                          BucketChange::Kind kind) {
    CLI::App* command = add(name, help);
    command->add_option("BUCKET", bucket)->required();
    CLI::Option* sloppy =
        command->add_flag("--sloppy", flags->sloppy, "as --quorums sloppy");
    command->add_flag("--strict", flags->strict, "as --quorums strict")
        ->excludes(sloppy);
    command->add_option("--value-bytes-max", flags->value_bytes_max,
                        "longest value or element that is written, in bytes; "
                        "or default");
    command->add_option("--ttl", flags->ttl,
                        "how long objects live that a write begins, unless it "
                        "says so itself: 90s, 24h, 30d; or default: for ever");
    command->footer(kBucketFooter);
    command->callback([choose, kind, &bucket, said, flags] {
      choose([kind, &bucket, said, flags] {
        return ChangeJob(kind, bucket, said(), *flags);
      });
    });
  };
  change("create", "give a bucket properties", BucketChange::Kind::kCreate);
  change("update", "change those that are named; the others stay",
         BucketChange::Kind::kUpdate);
  const auto run = [&](CLI::App* command, ClientJob job) {
    command->callback([choose, job = std::move(job)] {
      choose([job]() -> absl::StatusOr<ClientJob> { return job; });
    });
  };
  CLI::App* describe = add("describe", "what a bucket says");
  describe->add_option("BUCKET", bucket)->required();
  run(describe, [&bucket](Client& client, const Output& output) {
    return RunBucketDescribe(client, bucket, output);
  });
  CLI::App* remove =
      add("delete", "take a bucket's properties away; its objects stay");
  remove->add_option("BUCKET", bucket)->required();
  remove->add_flag("--keep-objects", flags->keep_objects,
                   "also if it holds objects: they stay as they are, and the "
                   "nodes' defaults apply to them");
  run(remove, [&bucket, flags](Client& client, const Output& output) {
    return RunBucketChange(
        client, net::DeleteBucket{bucket, flags->keep_objects}, output);
  });
  CLI::App* list = add("list", "the buckets with properties");
  list->add_flag("--in-use", flags->in_use,
                 "also those without of which the node that answers holds an "
                 "object");
  run(list, [flags](Client& client, const Output& output) {
    return RunBucketList(client, flags->in_use, output);
  });
}

}  // namespace dovetail::cli
