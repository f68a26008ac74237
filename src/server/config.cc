#include "src/server/config.h"

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

// How each setting is set, in the order of the help.
struct Setting {
  SettingHelp help;
  absl::Status (*set)(Config&, const std::string&);
};

absl::Status SetText(std::string& out, const std::string& text) {
  out = text;
  return absl::OkStatus();
}

const std::vector<Setting>& Table() {
  using C = Config;
  using S = const std::string;
  static const auto& table = *new std::vector<Setting>{
      {{"cluster", "name of the cluster; members of another one are refused"},
       [](C& c, S& t) { return SetText(c.cluster, t); }},
      {{"node", "name of this node, one of the members"},
       [](C& c, S& t) { return SetText(c.node, t); }},
      {{"listen", "HOST:PORT for clients (default: this member's address)"},
       [](C& c, S& t) { return SetText(c.listen, t); }},
      {{"peer_listen",
        "HOST:PORT for the other members (default: this member's "
        "peer_address)"},
       [](C& c, S& t) { return SetText(c.peer_listen, t); }},
      {{"data_dir", "directory of this node's data; made if it is missing"},
       [](C& c, S& t) { return SetText(c.data_dir, t); }},
      {{"partitions",
        "Q, a power of two, the same on all members and for ever "
        "(default 256)"},
       [](C& c, S& t) {
         return SetNumber(c.partitions, t, 1, kPartitionsMax);
       }},
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
      {{"log_level", "debug, info, warn or error (default info)"},
       [](C& c, S& t) { return SetLogLevel(c.log_level, t); }},
      {{"insecure",
        "true: listen on addresses that others can reach, without encryption "
        "or authentication"},
       [](C& c, S& t) { return SetFlag(c.insecure, t); }},
  };
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
        (name != "name" && name != "address" && name != "peer_address")) {
      return absl::InvalidArgumentError(
          "a member has the strings name, address and peer_address");
    }
    if (name == "name") {
      member.name = text->get();
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
    // A cluster of one.
    config.members.push_back({config.node, {"127.0.0.1", 0}, ""});
  }
  if (config.members.size() > kMembersMax) {
    return Wrong("members",
                 absl::StrCat(config.members.size(), " of them; the limit is ",
                              kMembersMax));
  }
  bool found = false;
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
      found = true;
      config.self = replica::NodeId{i};
    }
  }
  if (!found) {
    return Wrong(
        "node", absl::StrCat("\"", config.node, "\" is not among the members"));
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
  auto endpoint = net::ParseEndpoint(text.substr(equals + 1));
  if (!endpoint.ok()) return endpoint.status();
  return MemberConfig{text.substr(0, equals), *std::move(endpoint), ""};
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
  DOVETAIL_RETURN_IF_ERROR(CheckName("cluster", config.cluster));
  DOVETAIL_RETURN_IF_ERROR(CheckName("node", config.node));
  DOVETAIL_RETURN_IF_ERROR(CheckMembers(config));
  if (!std::has_single_bit(config.partitions)) {
    return Wrong("partitions",
                 absl::StrCat(config.partitions, " is not a power of two"));
  }
  if (config.shards > config.partitions) {
    return Wrong("shards", absl::StrCat(config.shards, " for ",
                                        config.partitions, " partitions"));
  }
  for (const auto& [key, level] :
       {std::pair("r", config.r), std::pair("w", config.w)}) {
    if (level > config.members.size()) {
      return Wrong(
          key, absl::StrCat(level, " of ", config.members.size(), " members"));
    }
  }
  if (config.data_dir.empty()) return Wrong("data_dir", "is missing");
  const MemberConfig& self = config.members[replica::Index(config.self)];
  if (config.listen.empty()) config.listen = self.client;
  if (config.listen.empty()) return Wrong("listen", "is missing");
  if (config.peer_listen.empty()) config.peer_listen = ToString(self.peer);
  DOVETAIL_RETURN_IF_ERROR(CheckEndpoint(
      "listen", config.listen, config.insecure, config.client_endpoint));
  return CheckEndpoint("peer_listen", config.peer_listen, config.insecure,
                       config.peer_endpoint);
}

}  // namespace dovetail::server
