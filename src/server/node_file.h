// The file NODE in a data directory: whose data this is. A directory that is
// opened as another node, with another number of partitions or in another
// cluster would be misread, so it is refused.
//
//   dovetail node, layout 1
//   cluster NAME
//   node NAME NUMBER
//   partitions Q
#ifndef DOVETAIL_SRC_SERVER_NODE_FILE_H_
#define DOVETAIL_SRC_SERVER_NODE_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "src/server/config.h"

namespace dovetail::server {

inline constexpr char kNodeFile[] = "NODE";
// The database, beside it.
inline constexpr char kDatabaseDirectory[] = "db";

// Makes config.data_dir and its NODE file if they are new, else checks that
// they are this node's. Errors: FailedPrecondition, with both sides.
absl::Status ClaimDataDirectory(const Config& config);

}  // namespace dovetail::server

#endif  // DOVETAIL_SRC_SERVER_NODE_FILE_H_
