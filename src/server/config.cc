#include "src/server/config.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "crdt/check.h"

namespace dovetail::server {
namespace {

absl::Status SetNumber(uint32_t& out, const std::string& text, uint32_t min,
                       uint32_t max) {
  uint32_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < min || value > max) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not a number from ", min, " to ", max));
  }
  out = value;
  return absl::OkStatus();
}

absl::Status SetMilliseconds(absl::Duration& out, const std::string& text,
                             uint32_t max) {
  uint32_t value = 0;
  DOVETAIL_RETURN_IF_ERROR(SetNumber(value, text, 1, max));
  out = absl::Milliseconds(value);
  return absl::OkStatus();
}

absl::Status SetFlag(bool& out, const std::string& text) {
  if (text != "true" && text != "false") {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is neither true nor false"));
  }
  out = text == "true";
  return absl::OkStatus();
}

absl::Status SetLogLevel(std::string& out, const std::string& text) {
  for (const char* level : {"debug", "info", "warn", "error"}) {
    if (text == level) {
      out = text;
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is none of debug, info, warn, error"));
}

// A number of replicas, or a majority of N.
absl::Status SetLevel(uint32_t& out, const std::string& text) {
  if (text == "quorum") {
    out = 0;
    return absl::OkStatus();
  }
  if (!SetNumber(out, text, 1, kMembersMax).ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text,
                     "\" is neither \"quorum\" nor a number of "
                     "replicas"));
  }
  return absl::OkStatus();
}

absl::Status SetJoin(std::vector<std::string>& out, const std::string& text) {
  out = absl::StrSplit(text, ',');
  for (const std::string& node : out) {
    const auto endpoint = net::ParseEndpoint(node);
    if (!endpoint.ok()) return endpoint.status();
  }
  return absl::OkStatus();
}

// How each setting is set, in the order of the help.
struct Setting {
  SettingHelp help;
  absl::Status (*set)(Config&, const std::string&);
};

absl::Status SetText(std::string& out, const std::string& text) {
  out = text;
  return absl::OkStatus();
}

// Who the node is, and where.
std::vector<Setting> SettingsOfPlace() {
  using C = Config;
  using S = const std::string;
  return {
      {{"cluster", "name of the cluster; members of another one are refused"},
       [](C& c, S& t) { return SetText(c.cluster, t); }},
      {{"node", "name of this node, unique in the cluster"},
       [](C& c, S& t) { return SetText(c.node, t); }},
      {{"join",
        "HOST:PORT[,...] for clients of nodes of a cluster that is there: it "
        "becomes known to it, and owns nothing until `dovetail cluster "
        "commit`"},
       [](C& c, S& t) { return SetJoin(c.join, t); }},
      {{"zone", "of this node, such as a rack: owners are spread over zones"},
       [](C& c, S& t) { return SetText(c.zone, t); }},
      {{"region", "of this node, such as a data centre"},
       [](C& c, S& t) { return SetText(c.region, t); }},
      {{"listen", "HOST:PORT for clients (default: this member's address)"},
       [](C& c, S& t) { return SetText(c.listen, t); }},
      {{"peer_listen",
        "HOST:PORT for the other members (default: this member's "
        "peer_address)"},
       [](C& c, S& t) { return SetText(c.peer_listen, t); }},
      {{"metrics_listen",
        "HOST:PORT for Prometheus, http://HOST:PORT/metrics (default: none)"},
       [](C& c, S& t) { return SetText(c.metrics_listen, t); }},
      {{"data_dir", "directory of this node's data; made if it is missing"},
       [](C& c, S& t) { return SetText(c.data_dir, t); }},
      {{"partitions",
        "Q, a power of two, the same on all members and for ever "
        "(default 256)"},
       [](C& c, S& t) {
         return SetNumber(c.partitions, t, 1, kPartitionsMax);
       }},
      {{"replicas",
        "N, owners of each partition of a new cluster (default 3, or as many "
        "as there are members)"},
       [](C& c, S& t) { return SetNumber(c.replicas, t, 1, 32); }},
  };
}

// What it may use, and what requests get.
std::vector<Setting> SettingsOfUse() {
  using C = Config;
  using S = const std::string;
  return {
      {{"shards", "threads that work on data (default 2)"},
       [](C& c, S& t) { return SetNumber(c.shards, t, 1, kShardsMax); }},
      {{"r", "replicas that answer a read that names no R (default quorum)"},
       [](C& c, S& t) { return SetLevel(c.r, t); }},
      {{"w",
        "replicas that acknowledge a write that names no W (default quorum)"},
       [](C& c, S& t) { return SetLevel(c.w, t); }},
      {{"block_cache_mb", "memory for disk blocks, in MiB (default 128)"},
       [](C& c, S& t) { return SetNumber(c.block_cache_mb, t, 8, 1 << 20); }},
      {{"row_cache_mb", "memory for hot rows, in MiB (default 64)"},
       [](C& c, S& t) { return SetNumber(c.row_cache_mb, t, 1, 1 << 20); }},
      {{"disk_reserve_mb",
        "writes are refused while less disk space is free, in MiB "
        "(default 256)"},
       [](C& c, S& t) { return SetNumber(c.disk_reserve_mb, t, 1, 1 << 20); }},
      {{"fsync_period_ms",
        "what a power loss may cost a write that did not ask for fsync "
        "(default 1000)"},
       [](C& c, S& t) { return SetMilliseconds(c.fsync_period, t, 60'000); }},
      {{"request_timeout_ms", "of requests that name none (default 2000)"},
       [](C& c, S& t) {
         return SetMilliseconds(c.request_timeout, t, 300'000);
       }},
      {{"backup_dir",
        "where `dovetail backup create` has this node copy its data, best on "
        "the same file system (default: backups in data_dir)"},
       [](C& c, S& t) { return SetText(c.backup_dir, t); }},
      {{"restore",
        "a backup: join the cluster (--join), bring what the backup has to "
        "the nodes that own it, then end"},
       [](C& c, S& t) { return SetText(c.restore, t); }},
      {{"log_level", "debug, info, warn or error (default info)"},
       [](C& c, S& t) { return SetLogLevel(c.log_level, t); }},
      {{"insecure",
        "true: listen on addresses that others can reach, without encryption "
        "or authentication"},
       [](C& c, S& t) { return SetFlag(c.insecure, t); }},
  };
}

// How partitions come to this node.
std::vector<Setting> SettingsOfTransfers() {
  using C = Config;
  using S = const std::string;
  return {
      {{"transfers_at_once",
        "partitions that a thread brings up to date by ranges at once "
        "(default 4)"},
       [](C& c, S& t) { return SetNumber(c.transfers_at_once, t, 1, 4096); }},
      {{"transfer_mb_per_second",
        "what that may take in on this node, and what this node gives to "
        "others, in MiB a second; 0: no limit (default 32)"},
       [](C& c, S& t) {
         return SetNumber(c.transfer_mb_per_second, t, 0, 1 << 20);
       }},
      {{"transfer_yield_ms",
        "transfers go more slowly while the 99th percentile of what this node "
        "is asked is over this and twice what is usual; 0: they never do "
        "(default 10)"},
       [](C& c, S& t) { return SetNumber(c.transfer_yield_ms, t, 0, 60'000); }},
  };
}

const std::vector<Setting>& Table() {
  static const auto& table = *new std::vector<Setting>([] {
    std::vector<Setting> all = SettingsOfPlace();
    for (const Setting& setting : SettingsOfUse()) all.push_back(setting);
    for (const Setting& setting : SettingsOfTransfers()) all.push_back(setting);
    return all;
  }());
  return table;
}

absl::Status AtLine(const std::string& name, const toml::node& node,
                    absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, ":", node.source().begin.line, ": ", what));
}

// A string, integer or boolean as its flag would be written.
absl::StatusOr<std::string> ScalarText(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) {
    return absl::StrCat(number->get());
  }
  if (const auto* flag = node.as_boolean()) {
    return std::string(flag->get() ? "true" : "false");
  }
  return absl::InvalidArgumentError("it must be a string, number or boolean");
}

absl::StatusOr<MemberConfig> MemberOf(const toml::table& table) {
  MemberConfig member;
  for (const auto& [key, node] : table) {
    const auto* text = node.as_string();
    const std::string_view name = key.str();
    if (text == nullptr ||
        (name != "name" && name != "address" && name != "peer_address" &&
         name != "zone" && name != "region")) {
      return absl::InvalidArgumentError(
          "a member has the strings name, address, peer_address, zone and "
          "region");
    }
    if (name == "name") {
      member.name = text->get();
    } else if (name == "zone") {
      member.zone = text->get();
    } else if (name == "region") {
      member.region = text->get();
    } else {
      auto endpoint = net::ParseEndpoint(text->get());
      if (!endpoint.ok()) return endpoint.status();
      if (name == "address") {
        member.client = text->get();
      } else {
        member.peer = *std::move(endpoint);
      }
    }
  }
  if (member.name.empty() || member.peer.host.empty()) {
    return absl::InvalidArgumentError(
        "a member needs a name and a peer_address");
  }
  return member;
}

absl::Status ApplyMembers(Config& config, const toml::node& node,
                          const std::string& name) {
  const toml::array* array = node.as_array();
  if (array == nullptr) {
    return AtLine(name, node,
                  "members is a list of \"NAME=HOST:PORT\" or of tables "
                  "[[members]]");
  }
  config.members.clear();
  for (const toml::node& entry : *array) {
    absl::StatusOr<MemberConfig> member =
        absl::InvalidArgumentError("a member is a string or a table");
    if (const auto* text = entry.as_string()) {
      member = ParseMember(text->get());
    } else if (const auto* table = entry.as_table()) {
      member = MemberOf(*table);
    }
    if (!member.ok()) {
      return AtLine(name, entry,
                    absl::StrCat("members: ", member.status().message()));
    }
    config.members.push_back(*std::move(member));
  }
  return absl::OkStatus();
}

absl::Status Wrong(absl::string_view key, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(key, ": ", why));
}

absl::Status CheckName(absl::string_view key, const std::string& name) {
  if (name.empty()) return Wrong(key, "is missing");
  if (name.size() > kNameBytesMax) {
    return Wrong(key, absl::StrCat("\"", name, "\" is longer than ",
                                   kNameBytesMax, " bytes"));
  }
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' &&
        c != '_' && c != '.') {
      return Wrong(key, absl::StrCat("\"", name,
                                     "\" has other characters than letters, "
                                     "digits, '-', '_' and '.'"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMembers(Config& config) {
  if (config.members.empty()) {
    if (!config.join.empty() || config.knows_cluster) return absl::OkStatus();
    // A cluster of one.
    config.members.push_back(
        {config.node, {"127.0.0.1", 0}, "", config.zone, config.region});
  } else if (!config.join.empty()) {
    return Wrong("join",
                 "is for a cluster that is there; members are the "
                 "first ones of a new cluster: give one of the two");
  }
  if (config.members.size() > kMembersMax) {
    return Wrong("members",
                 absl::StrCat(config.members.size(), " of them; the limit is ",
                              kMembersMax));
  }
  const MemberConfig* self = nullptr;
  for (uint32_t i = 0; i < config.members.size(); ++i) {
    DOVETAIL_RETURN_IF_ERROR(
        CheckName("members: name", config.members[i].name));
    for (uint32_t j = 0; j < i; ++j) {
      if (config.members[i].name == config.members[j].name) {
        return Wrong("members", absl::StrCat("\"", config.members[i].name,
                                             "\" is there twice"));
      }
    }
    if (config.members[i].name == config.node) {
      self = &config.members[i];
    }
    for (const std::string* word :
         {&config.members[i].zone, &config.members[i].region}) {
      if (word->size() > kNameBytesMax) {
        return Wrong("members", absl::StrCat("\"", *word, "\" is longer than ",
                                             kNameBytesMax, " bytes"));
      }
    }
  }
  if (self == nullptr) {
    return Wrong(
        "node", absl::StrCat("\"", config.node, "\" is not among the members"));
  }
  if (config.zone.empty()) config.zone = self->zone;
  if (config.region.empty()) config.region = self->region;
  if (config.zone != self->zone || config.region != self->region) {
    return Wrong("zone",
                 "zone and region of this node are not those that the "
                 "list of members has for it");
  }
  if (config.listen.empty()) config.listen = self->client;
  if (config.peer_listen.empty()) config.peer_listen = ToString(self->peer);
  const auto members = static_cast<uint32_t>(config.members.size());
  if (config.replicas > members) {
    return Wrong("replicas",
                 absl::StrCat(config.replicas, " of ", members, " members"));
  }
  if (config.replicas == 0) {
    config.replicas = std::min(kReplicasDefault, members);
  }
  for (const auto& [key, level] :
       {std::pair("r", config.r), std::pair("w", config.w)}) {
    if (level > config.replicas) {
      return Wrong(key,
                   absl::StrCat(level, " of ", config.replicas, " replicas"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEndpoint(absl::string_view key, const std::string& text,
                           bool insecure, net::Endpoint& out) {
  auto endpoint = net::ParseEndpoint(text);
  if (!endpoint.ok()) return Wrong(key, endpoint.status().message());
  if (!insecure && !net::IsLoopback(*endpoint)) {
    return Wrong(key, absl::StrCat(text,
                                   " can be reached from other machines, and "
                                   "connections are neither encrypted nor "
                                   "authenticated yet; use a loopback address, "
                                   "or --insecure where that does not matter"));
  }
  out = *std::move(endpoint);
  return absl::OkStatus();
}

// Others are told where a node that is in no list listens.
absl::Status CheckDialable(absl::string_view key,
                           const net::Endpoint& endpoint) {
  if (endpoint.host != "0.0.0.0" && endpoint.host != "::") {
    return absl::OkStatus();
  }
  return Wrong(key, absl::StrCat(ToString(endpoint),
                                 " is no address that others can reach; name "
                                 "the one that they shall use"));
}

}  // namespace

const std::vector<SettingHelp>& Settings() {
  static const auto& settings = *[] {
    auto* all = new std::vector<SettingHelp>;
    for (const Setting& setting : Table()) all->push_back(setting.help);
    return all;
  }();
  return settings;
}

absl::Status Set(Config& config, absl::string_view key,
                 const std::string& text) {
  for (const Setting& setting : Table()) {
    if (key != setting.help.key) continue;
    const absl::Status status = setting.set(config, text);
    return status.ok() ? status : Wrong(key, status.message());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", key, "\" is no setting"));
}

absl::StatusOr<MemberConfig> ParseMember(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not NAME=HOST:PORT"));
  }
  MemberConfig member;
  member.name = text.substr(0, equals);
  const std::vector<std::string> parts =
      absl::StrSplit(text.substr(equals + 1), ',');
  DOVETAIL_ASSIGN_OR_RETURN(member.peer, net::ParseEndpoint(parts[0]));
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::pair<std::string, std::string> pair =
        absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
    if (pair.first != "zone" && pair.first != "region") {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", parts[i],
                       "\" is neither zone=ZONE nor "
                       "region=REGION"));
    }
    (pair.first == "zone" ? member.zone : member.region) = pair.second;
  }
  return member;
}

absl::Status ApplyToml(Config& config, absl::string_view toml,
                       const std::string& name) {
  const toml::parse_result parsed =
      toml::parse(std::string_view(toml.data(), toml.size()), name);
  if (parsed.failed()) {
    const toml::parse_error& error = parsed.error();
    const std::string_view what = error.description();
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":", error.source().begin.line, ": ",
                     absl::string_view(what.data(), what.size())));
  }
  for (const auto& [key, node] : parsed.table()) {
    const absl::string_view text_key(key.data(), key.length());
    if (text_key == "members") {
      DOVETAIL_RETURN_IF_ERROR(ApplyMembers(config, node, name));
      continue;
    }
    absl::StatusOr<std::string> text = ScalarText(node);
    absl::Status status = text.ok() ? Set(config, text_key, *text)
                                    : Wrong(text_key, text.status().message());
    if (!status.ok()) return AtLine(name, node, status.message());
  }
  return absl::OkStatus();
}

absl::Status ApplyFile(Config& config, const std::string& path) {
  std::ifstream file(path);
  std::ostringstream content;
  if (file) content << file.rdbuf();
  if (!file) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  }
  return ApplyToml(config, content.str(), path);
}

absl::Status Check(Config& config) {
  const bool joins = !config.join.empty();
  if (!joins || !config.cluster.empty()) {
    DOVETAIL_RETURN_IF_ERROR(CheckName("cluster", config.cluster));
  }
  DOVETAIL_RETURN_IF_ERROR(CheckName("node", config.node));
  DOVETAIL_RETURN_IF_ERROR(CheckMembers(config));
  if (config.partitions == 0 && !joins) config.partitions = kPartitionsDefault;
  if (config.partitions != 0 && !std::has_single_bit(config.partitions)) {
    return Wrong("partitions",
                 absl::StrCat(config.partitions, " is not a power of two"));
  }
  if (config.partitions != 0 && config.shards > config.partitions) {
    return Wrong("shards", absl::StrCat(config.shards, " for ",
                                        config.partitions, " partitions"));
  }
  for (const auto& [key, word] :
       {std::pair("zone", &config.zone), std::pair("region", &config.region)}) {
    if (word->size() > kNameBytesMax) {
      return Wrong(key, absl::StrCat("\"", *word, "\" is longer than ",
                                     kNameBytesMax, " bytes"));
    }
  }
  if (config.data_dir.empty()) return Wrong("data_dir", "is missing");
  if (config.listen.empty()) return Wrong("listen", "is missing");
  if (config.peer_listen.empty()) {
    return Wrong("peer_listen",
                 "is missing: HOST:PORT where the other nodes reach this one");
  }
  DOVETAIL_RETURN_IF_ERROR(CheckEndpoint(
      "listen", config.listen, config.insecure, config.client_endpoint));
  DOVETAIL_RETURN_IF_ERROR(CheckEndpoint("peer_listen", config.peer_listen,
                                         config.insecure,
                                         config.peer_endpoint));
  if (!config.metrics_listen.empty()) {
    DOVETAIL_RETURN_IF_ERROR(
        CheckEndpoint("metrics_listen", config.metrics_listen, config.insecure,
                      config.metrics_endpoint.emplace()));
  }
  if (!joins) return absl::OkStatus();
  DOVETAIL_RETURN_IF_ERROR(CheckDialable("listen", config.client_endpoint));
  return CheckDialable("peer_listen", config.peer_endpoint);
}

}  // namespace dovetail::server
