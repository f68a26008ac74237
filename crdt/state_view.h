// What mutators and queries may see of one partition's objects. The partition
// implements it over rows, the tests over a plain Store.
#ifndef DOVETAIL_CRDT_STATE_VIEW_H_
#define DOVETAIL_CRDT_STATE_VIEW_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "crdt/leaf.h"
#include "crdt/path.h"
#include "crdt/type.h"

namespace dovetail::crdt {

class StateView {
 public:
  virtual ~StateView() = default;

  // The leaf at `path`, empty if there is none.
  virtual absl::StatusOr<Leaf> Get(const ObjectId& object,
                                   const Path& path) = 0;

  // Visits the non-empty leaves of `object` whose path starts with `prefix`
  // and, if `after` is not empty, is greater than `after` and does not start
  // with it, in path order, until `visit` returns false.
  virtual absl::Status Scan(
      const ObjectId& object, const Path& prefix, const Path& after,
      absl::FunctionRef<bool(const Path&, const Leaf&)> visit) = 0;
};

// A StateView over one object held in memory; `store` must outlive it.
class StoreView final : public StateView {
 public:
  explicit StoreView(const Store& store) : store_(store) {}
  absl::StatusOr<Leaf> Get(const ObjectId&, const Path& path) override;
  absl::Status Scan(
      const ObjectId&, const Path& prefix, const Path& after,
      absl::FunctionRef<bool(const Path&, const Leaf&)> visit) override;

 private:
  const Store& store_;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_STATE_VIEW_H_
