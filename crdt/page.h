// How a read cuts an object into pages, for Query and CollectPage alike: the
// leaves of one unit (an element of a set, a field of a map, else the whole
// object) stay together.
#ifndef DOVETAIL_CRDT_PAGE_H_
#define DOVETAIL_CRDT_PAGE_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "crdt/leaf.h"
#include "crdt/path.h"
#include "crdt/query.h"
#include "crdt/state_view.h"

namespace dovetail::crdt {

struct PageUnit {
  Path end;  // of the element or field; the place itself if it has no units
  std::vector<std::pair<Path, Leaf>> leaves;
  bool visible = false;
  // Over kReplyBytesMax by itself; `leaves` is then incomplete and this unit
  // the last.
  bool oversize = false;
  size_t bytes = 0;        // about what it takes in a reply
  size_t token_bytes = 0;  // at most what it takes in a token
};

// Visits the units that `spec` asks for, in path order, from where its page
// starts, until `visit` returns false. Errors: those of `state`.
absl::Status ForEachUnit(StateView& state, const ReadSpec& spec,
                         absl::FunctionRef<bool(PageUnit&&)> visit);

// Decides unit by unit where a page ends.
class PageLimits {
 public:
  // kShown: a page goes on until there is something to show. kBounded: never
  // past its bytes.
  enum class Mode { kShown, kBounded };
  PageLimits(const ReadSpec& spec, Mode mode);

  // Whether `unit` still belongs to the page; if not, the page is full.
  bool Admit(const PageUnit& unit);

 private:
  const uint64_t limit_;
  const bool want_token_;
  const Mode mode_;
  uint64_t units_ = 0;
  uint64_t visible_ = 0;
  size_t bytes_ = 0;
  size_t token_bytes_ = 0;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_PAGE_H_
