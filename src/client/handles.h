// Typed handles: one class for each type of value, with that type's verbs.
//
// The same handles come in three modes, and a bucket decides which:
//
//   db->bucket("shop").set("cart:1").Add("milk")
//       Blocking: waits, and returns absl::StatusOr<Written>.
//   db->async_bucket("shop").set("cart:1").Add("milk")
//       Async: returns std::future<absl::StatusOr<Written>> at once.
//   batch.bucket("shop").set("cart:1").Add("milk")
//       Batched: adds to the batch and returns nothing; no reads.
//
// A handle is a small value, made for free and without a call; copy it and use
// it from any thread. It must not outlive its client or batch. Names, keys and
// values are bytes. The type belongs to the identity: set("x") and
// counter("x") of one bucket are two objects.
//
// Errors of all verbs: InvalidArgument; ResourceExhausted (a limit, or
// overload); Unavailable (no node reachable, or too few replicas for the
// level); DeadlineExceeded; DataLoss. Whether a failed mutation may have taken
// effect nevertheless, MayHaveTakenEffect(status) tells.
#ifndef DOVETAIL_SRC_CLIENT_HANDLES_H_
#define DOVETAIL_SRC_CLIENT_HANDLES_H_

#include <concepts>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "src/client/types.h"

namespace dovetail {

class Batch;

namespace internal {

// What runs the operations of handles: the client.
class Submitter {
 public:
  virtual ~Submitter() = default;
  // Calls `done` once, on a thread of the client's.
  virtual void Submit(Operation operation, const CallOptions& options,
                      absl::AnyInvocable<void(Result)> done) = 0;
  // Ends the process if this thread runs the client's callbacks: waiting here
  // would wait for ever.
  virtual void CheckMayBlock() const = 0;
};

// What takes listings: the client.
class Lister {
 public:
  virtual ~Lister() = default;
  // Calls `done` once, on a thread of the client's.
  virtual void SubmitList(
      replica::ListRequest request, const CallOptions& options,
      absl::AnyInvocable<void(absl::StatusOr<Listing>)> done) = 0;
  // The same, and waits for it.
  absl::StatusOr<Listing> ListNow(absl::string_view bucket,
                                  absl::string_view prefix,
                                  const std::optional<ObjectId>& after,
                                  uint32_t limit, const CallOptions& options);
};

// Where a handle points to, and what runs its operations: one of the two.
struct Place {
  Submitter* submitter = nullptr;
  Batch* batch = nullptr;
  ObjectId object;
  std::vector<Field> fields;
};

Place PlaceOfBucket(Submitter& submitter, absl::string_view name);

}  // namespace internal

struct Blocking {
  template <class T>
  using Answer = absl::StatusOr<T>;
  using MutationOptions = WriteOptions;
};

struct Async {
  template <class T>
  using Answer = std::future<absl::StatusOr<T>>;
  using MutationOptions = WriteOptions;
};

struct Batched {
  template <class T>
  using Answer = void;
  using MutationOptions = BatchedOptions;
};

template <class M>
concept Mode = std::same_as<M, Blocking> || std::same_as<M, Async> ||
    std::same_as<M, Batched>;
template <class M>
concept Reads = Mode<M> && !std::same_as<M, Batched>;

// What all handles have in common.
template <Mode M>
class Handle {
 public:
  using Options = typename M::MutationOptions;
  using Mutated = typename M::template Answer<Written>;
  template <class T>
  using ReadingOf = typename M::template Answer<Reading<T>>;

  explicit Handle(internal::Place place) : place_(std::move(place)) {}

  // Deletes the whole object. A field of a map is removed by
  // BasicMap::Remove() instead; there this is InvalidArgument.
  Mutated Delete(const Options& options = {}) const;

  // From then on the whole object is absent to every reader, and soon removed:
  // a time by the clocks of the nodes, at least a millisecond away. Replaces a
  // setting that was observed, by a shorter one too; of settings that did not
  // know of each other the longest holds. Writes leave it alone. Of a field of
  // a map: InvalidArgument. Reading::expires shows it.
  Mutated ExpireIn(absl::Duration ttl, const Options& options = {}) const;
  Mutated ExpireAt(absl::Time time, const Options& options = {}) const;
  // Takes back the settings that were observed.
  Mutated Persist(const Options& options = {}) const;

 protected:
  internal::Place place_;
};

// The last write wins: a write replaces what its writer's node had seen, and
// of writes that did not know of each other the later one by hybrid clock.
template <Mode M>
class BasicRegister : public Handle<M> {
 public:
  using Handle<M>::Handle;
  using typename Handle<M>::Options;
  using typename Handle<M>::Mutated;
  template <class T>
  using ReadingOf = typename Handle<M>::template ReadingOf<T>;

  Mutated Write(absl::string_view value, const Options& options = {}) const;
  Mutated Clear(const Options& options = {}) const;
  // nullopt: never written, or cleared.
  ReadingOf<std::optional<std::string>> Read(
      const ReadOptions& options = {}) const requires Reads<M>;
};

// Keeps all values that were written concurrently, for the application to
// resolve: read with want_token, then write the resolution with that token.
template <Mode M>
class BasicMultiValue : public Handle<M> {
 public:
  using Handle<M>::Handle;
  using typename Handle<M>::Options;
  using typename Handle<M>::Mutated;
  template <class T>
  using ReadingOf = typename Handle<M>::template ReadingOf<T>;

  // Replaces what the token observed; without one, what the node holds.
  Mutated Write(absl::string_view value, const Options& options = {}) const;
  // Replaces nothing: adds a concurrent value.
  Mutated WriteBlind(absl::string_view value,
                     const Options& options = {}) const;
  Mutated Clear(const Options& options = {}) const;
  // In byte order; empty if absent.
  ReadingOf<std::vector<std::string>> Read(
      const ReadOptions& options = {}) const requires Reads<M>;
};

// A set that only grows. Also the part that all sets share.
template <Mode M>
class BasicGrowSet : public Handle<M> {
 public:
  using Handle<M>::Handle;
  using typename Handle<M>::Options;
  using typename Handle<M>::Mutated;
  template <class T>
  using ReadingOf = typename Handle<M>::template ReadingOf<T>;

  // Cost: the same for a set of any size.
  Mutated Add(absl::string_view element, const Options& options = {}) const;
  // At most crdt::kElementsPerOperationMax.
  Mutated AddAll(std::vector<std::string> elements,
                 const Options& options = {}) const;
  // One page, in byte order.
  ReadingOf<std::vector<std::string>> Read(
      const Page& page = {},
      const ReadOptions& options = {}) const requires Reads<M>;
  // Cost: the same for a set of any size.
  ReadingOf<bool> Contains(
      absl::string_view element,
      const ReadOptions& options = {}) const requires Reads<M>;
};

// kSet: of an add and a remove that did not know of each other the add wins.
// kRemoveSet: the remove wins.
template <Mode M, Type kType>
class BasicSet : public BasicGrowSet<M> {
 public:
  using BasicGrowSet<M>::BasicGrowSet;
  using typename Handle<M>::Options;
  using typename Handle<M>::Mutated;

  // Removes what was observed of the element: by the token, or by the node.
  Mutated Remove(absl::string_view element, const Options& options = {}) const;
  Mutated RemoveAll(std::vector<std::string> elements,
                    const Options& options = {}) const;
  // Removes every element that was observed.
  Mutated Clear(const Options& options = {}) const;
};

// kEnableFlag: false until enabled, and of a concurrent enable and disable the
// enable wins. kDisableFlag: true until disabled, and the disable wins.
template <Mode M, Type kType>
class BasicFlag : public Handle<M> {
 public:
  using Handle<M>::Handle;
  using typename Handle<M>::Options;
  using typename Handle<M>::Mutated;
  template <class T>
  using ReadingOf = typename Handle<M>::template ReadingOf<T>;

  Mutated Enable(const Options& options = {}) const;
  Mutated Disable(const Options& options = {}) const;
  ReadingOf<bool> Read(const ReadOptions& options = {}) const requires Reads<M>;
};

// A sum of everything that was added, exact under concurrency.
template <Mode M>
class BasicCounter : public Handle<M> {
 public:
  using Handle<M>::Handle;
  using typename Handle<M>::Options;
  using typename Handle<M>::Mutated;
  template <class T>
  using ReadingOf = typename Handle<M>::template ReadingOf<T>;

  // Any sign, not 0. Not idempotent: after a failure that may have taken
  // effect it is for the caller to decide.
  Mutated Add(int64_t amount, const Options& options = {}) const;
  // Takes back exactly what was observed; concurrent additions stay.
  Mutated Reset(const Options& options = {}) const;
  ReadingOf<int64_t> Read(
      const ReadOptions& options = {}) const requires Reads<M>;
};

template <Mode M>
class BasicMap;

// What has typed values under names: a bucket under its keys, a map under its
// fields.
template <Mode M>
class Children {
 public:
  BasicRegister<M> reg(absl::string_view name) const;
  BasicMultiValue<M> mv(absl::string_view name) const;
  BasicSet<M, Type::kSet> set(absl::string_view name) const;
  BasicSet<M, Type::kRemoveSet> rwset(absl::string_view name) const;
  BasicGrowSet<M> gset(absl::string_view name) const;
  BasicFlag<M, Type::kEnableFlag> ewflag(absl::string_view name) const;
  BasicFlag<M, Type::kDisableFlag> dwflag(absl::string_view name) const;
  BasicCounter<M> counter(absl::string_view name) const;
  BasicMap<M> map(absl::string_view name) const;

 protected:
  ~Children() = default;

 private:
  virtual internal::Place ChildAt(absl::string_view name, Type type) const = 0;
};

// Fields of any type, maps too, up to crdt::kNestingMax deep:
//   auto user = db->bucket("users").map("ann");
//   user.set("tags").Add("admin");
//   user.map("address").reg("city").Write("Graz");
//   user.Remove({"tags", dovetail::Type::kSet});
// Removing a field removes what was observed in it; what is written into it
// concurrently stays.
template <Mode M>
class BasicMap final : public Handle<M>, public Children<M> {
 public:
  using Handle<M>::Handle;
  using typename Handle<M>::Options;
  using typename Handle<M>::Mutated;
  template <class T>
  using ReadingOf = typename Handle<M>::template ReadingOf<T>;

  Mutated Remove(const Field& field, const Options& options = {}) const;
  // Removes every field, all that was observed of it.
  Mutated Clear(const Options& options = {}) const;
  // One page of fields, with all that is in each.
  ReadingOf<View> Read(const FieldPage& page = {},
                       const ReadOptions& options = {}) const requires Reads<M>;

 private:
  internal::Place ChildAt(absl::string_view name, Type type) const override;
};

// A name space of objects; exists by being used.
template <Mode M>
class BasicBucket final : public Children<M> {
 public:
  // `place` has the bucket, no key.
  explicit BasicBucket(internal::Place place) : place_(std::move(place)) {}

 private:
  internal::Place ChildAt(absl::string_view name, Type type) const override;
  internal::Place place_;
};

using Register = BasicRegister<Blocking>;
using MultiValue = BasicMultiValue<Blocking>;
using Set = BasicSet<Blocking, Type::kSet>;
using RemoveSet = BasicSet<Blocking, Type::kRemoveSet>;
using GrowSet = BasicGrowSet<Blocking>;
using EnableFlag = BasicFlag<Blocking, Type::kEnableFlag>;
using DisableFlag = BasicFlag<Blocking, Type::kDisableFlag>;
using Counter = BasicCounter<Blocking>;
using Map = BasicMap<Blocking>;
using Bucket = BasicBucket<Blocking>;
using AsyncBucket = BasicBucket<Async>;
using BatchBucket = BasicBucket<Batched>;

// Mutations that take effect together or not at all, and are seen together.
// All their objects must share a partition: one object, or keys with the same
// part in braces, as in "{ann}:cart" and "{ann}:likes". A value; not for use
// by several threads at once.
class Batch {
 public:
  BatchBucket bucket(absl::string_view name);

  void Add(Mutation mutation) { mutations_.push_back(std::move(mutation)); }
  const std::vector<Mutation>& mutations() const { return mutations_; }
  bool empty() const { return mutations_.empty(); }
  size_t size() const { return mutations_.size(); }
  void clear() { mutations_.clear(); }

 private:
  std::vector<Mutation> mutations_;
};

}  // namespace dovetail

#endif  // DOVETAIL_SRC_CLIENT_HANDLES_H_
