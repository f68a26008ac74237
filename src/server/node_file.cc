#include "src/server/node_file.h"

#include <filesystem>
#include <sstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "src/server/file.h"

namespace dovetail::server {
namespace {

namespace fs = std::filesystem;

std::string Content(const NodeIdentity& identity) {
  return absl::StrCat("dovetail node, layout 2\ncluster ", identity.cluster,
                      "\nnode ", identity.node, "\npartitions ",
                      identity.partitions, "\n");
}

std::optional<NodeIdentity> Parse(const std::string& content) {
  std::istringstream in(content);
  std::string layout, word, line;
  if (!std::getline(in, layout)) return std::nullopt;
  const bool numbered = layout == "dovetail node, layout 1";
  if (!numbered && layout != "dovetail node, layout 2") return std::nullopt;
  NodeIdentity identity;
  uint64_t number = 0;
  if (!(in >> word >> identity.cluster) || word != "cluster") {
    return std::nullopt;
  }
  if (!(in >> word >> identity.node) || word != "node") return std::nullopt;
  if (numbered && !(in >> number)) return std::nullopt;
  if (!(in >> word >> identity.partitions) || word != "partitions") {
    return std::nullopt;
  }
  return identity;
}

// For people.
std::string OneLine(const NodeIdentity& identity) {
  return absl::StrCat("cluster ", identity.cluster, ", node ", identity.node,
                      ", partitions ", identity.partitions);
}

}  // namespace

absl::StatusOr<std::optional<NodeIdentity>> ReadNodeFile(
    const std::string& data_dir) {
  const std::string path = absl::StrCat(data_dir, "/", kNodeFile);
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> content,
                            ReadFile(path));
  if (!content.has_value()) return std::nullopt;
  std::optional<NodeIdentity> identity = Parse(*content);
  if (!identity.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "data_dir: ", path, " is not one that this version understands"));
  }
  return identity;
}

absl::Status ClaimDataDirectory(const std::string& data_dir,
                                const NodeIdentity& identity) {
  std::error_code error;
  fs::create_directories(data_dir, error);
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat(
        "data_dir: cannot make ", data_dir, ": ", error.message()));
  }
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<NodeIdentity> found,
                            ReadNodeFile(data_dir));
  if (!found.has_value()) {
    if (fs::exists(fs::path(data_dir) / kDatabaseDirectory, error)) {
      return absl::FailedPreconditionError(
          absl::StrCat("data_dir: ", data_dir, " has a database but no file ",
                       kNodeFile, " that says whose it is"));
    }
    return ReplaceFile(data_dir, kNodeFile, Content(identity));
  }
  if (*found == identity) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("data_dir: ", data_dir, " belongs to another node: there ",
                   OneLine(*found), "; configured ", OneLine(identity)));
}

}  // namespace dovetail::server
