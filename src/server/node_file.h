// The file NODE in a data directory: whose data this is. A directory that is
// opened as another node, with another number of partitions or in another
// cluster would be misread, so it is refused.
//
//   dovetail node, layout 2
//   cluster NAME
//   node NAME
//   partitions Q
//
// Also read: layout 1, in which a number follows the node's name.
#ifndef DOVETAIL_SRC_SERVER_NODE_FILE_H_
#define DOVETAIL_SRC_SERVER_NODE_FILE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dovetail::server {

inline constexpr char kNodeFile[] = "NODE";
// The database, beside it.
inline constexpr char kDatabaseDirectory[] = "db";

struct NodeIdentity {
  std::string cluster;
  std::string node;
  uint32_t partitions = 0;
  friend bool operator==(const NodeIdentity&, const NodeIdentity&) = default;
};

// Whose `data_dir` is; nullopt if it is nobody's yet. Errors:
// FailedPrecondition.
absl::StatusOr<std::optional<NodeIdentity>> ReadNodeFile(
    const std::string& data_dir);

// Makes `data_dir` and its NODE file if they are new, else checks that they are
// of this identity. Errors: FailedPrecondition, with both sides.
absl::Status ClaimDataDirectory(const std::string& data_dir,
                                const NodeIdentity& identity);

}  // namespace dovetail::server

#endif  // DOVETAIL_SRC_SERVER_NODE_FILE_H_
