#include "replica/request.h"

#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::replica {

std::string ToString(const Level& level) {
  switch (level.kind) {
    case Level::Kind::kDefault:
      return "default";
    case Level::Kind::kCount:
      return absl::StrCat(level.count);
    case Level::Kind::kQuorum:
      return "quorum";
    case Level::Kind::kAll:
      return "all";
    case Level::Kind::kLocalOne:
      return "local_one";
    case Level::Kind::kLocalQuorum:
      return "local_quorum";
    case Level::Kind::kEachQuorum:
      return "each_quorum";
  }
  DOVETAIL_CHECK(false);
}

}  // namespace dovetail::replica
