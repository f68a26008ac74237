#include "src/client/handles.h"

#include <memory>
#include <type_traits>
#include <variant>

#include "src/client/answers.h"

namespace dovetail {
namespace {

using crdt::Verb;
using internal::Place;

CallOptions AsCallOptions(const WriteOptions& options) {
  CallOptions out;
  out.write = options.w;
  out.durability = options.durability;
  out.quorums = options.quorums;
  out.timeout = options.timeout;
  return out;
}

// Submits, and answers in the way of the mode; `convert` turns the result into
// what the verb promises.
template <Reads M, class T>
typename M::template Answer<T> Run(const Place& place, Operation operation,
                                   const CallOptions& options,
                                   absl::StatusOr<T> (*convert)(Result)) {
  if constexpr (std::same_as<M, Blocking>) place.submitter->CheckMayBlock();
  std::promise<absl::StatusOr<T>> promise;
  auto future = promise.get_future();
  place.submitter->Submit(
      std::move(operation), options,
      [promise = std::move(promise), convert](Result result) mutable {
        promise.set_value(convert(std::move(result)));
      });
  if constexpr (std::same_as<M, Blocking>) {
    return future.get();
  } else {
    return future;
  }
}

Mutation NewMutation(const Place& place, Verb verb) {
  Mutation out;
  out.object = place.object;
  out.fields = place.fields;
  out.verb = verb;
  return out;
}

// Milliseconds, the last one begun counting whole: what is longer than nothing
// must not become nothing.
int64_t MillisecondsOf(absl::Duration ttl) {
  return absl::ToInt64Milliseconds(absl::Ceil(ttl, absl::Milliseconds(1)));
}

Mutation ExpiryIn(const Place& place, absl::Duration ttl) {
  Mutation out = NewMutation(place, Verb::kExpireIn);
  out.amount = MillisecondsOf(ttl);
  return out;
}

template <Mode M>
typename M::template Answer<Written> Mutate(
    const Place& place, Mutation mutation,
    const typename M::MutationOptions& options) {
  mutation.observed = options.token;
  if constexpr (std::same_as<M, Batched>) {
    place.batch->Add(std::move(mutation));
  } else {
    replica::WriteRequest request;
    request.operations.push_back(std::move(mutation));
    if (options.ttl != absl::ZeroDuration()) {
      Place object = place;
      object.fields.clear();
      request.operations.push_back(ExpiryIn(object, options.ttl));
    }
    return Run<M, Written>(place, std::move(request), AsCallOptions(options),
                           &internal::ToWritten);
  }
}

template <Mode M>
typename M::template Answer<Written> MutateElements(
    const Place& place, Verb verb, std::vector<std::string> elements,
    const typename M::MutationOptions& options) {
  Mutation mutation = NewMutation(place, verb);
  mutation.elements = std::move(elements);
  return Mutate<M>(place, std::move(mutation), options);
}

template <Mode M>
typename M::template Answer<Written> MutateValue(
    const Place& place, Verb verb, absl::string_view value,
    const typename M::MutationOptions& options) {
  Mutation mutation = NewMutation(place, verb);
  mutation.value = std::string(value);
  return Mutate<M>(place, std::move(mutation), options);
}

replica::ReadRequest NewRead(const Place& place, const ReadOptions& options) {
  replica::ReadRequest out;
  out.spec.object = place.object;
  out.spec.fields = place.fields;
  out.spec.want_token = options.want_token;
  return out;
}

template <Reads M, class T>
typename M::template Answer<Reading<T>> Fetch(
    const Place& place, replica::ReadRequest request,
    const ReadOptions& options, absl::StatusOr<Reading<T>> (*convert)(Result)) {
  CallOptions call;
  call.read = options.r;
  call.quorums = options.quorums;
  call.here = options.here;
  call.timeout = options.timeout;
  return Run<M, Reading<T>>(place, std::move(request), call, convert);
}

std::vector<std::string> One(absl::string_view element) {
  return {std::string(element)};
}

}  // namespace

// --- All handles -----------------------------------------------------------

template <Mode M>
auto Handle<M>::Delete(const Options& options) const -> Mutated {
  return Mutate<M>(place_, NewMutation(place_, Verb::kDelete), options);
}

template <Mode M>
auto Handle<M>::ExpireIn(absl::Duration ttl, const Options& options) const
    -> Mutated {
  return Mutate<M>(place_, ExpiryIn(place_, ttl), options);
}

template <Mode M>
auto Handle<M>::ExpireAt(absl::Time time, const Options& options) const
    -> Mutated {
  Mutation mutation = NewMutation(place_, Verb::kExpireAt);
  mutation.amount = absl::ToUnixMillis(time);
  return Mutate<M>(place_, std::move(mutation), options);
}

template <Mode M>
auto Handle<M>::Persist(const Options& options) const -> Mutated {
  return Mutate<M>(place_, NewMutation(place_, Verb::kPersist), options);
}

// --- Registers -------------------------------------------------------------

template <Mode M>
auto BasicRegister<M>::Write(absl::string_view value,
                             const Options& options) const -> Mutated {
  return MutateValue<M>(this->place_, Verb::kWrite, value, options);
}

template <Mode M>
auto BasicRegister<M>::Clear(const Options& options) const -> Mutated {
  return Mutate<M>(this->place_, NewMutation(this->place_, Verb::kClear),
                   options);
}

template <Mode M>
auto BasicRegister<M>::Read(const ReadOptions& options) const
    -> ReadingOf<std::optional<std::string>>
requires Reads<M> {
  return Fetch<M>(this->place_, NewRead(this->place_, options), options,
                  &internal::ToRegister);
}

template <Mode M>
auto BasicMultiValue<M>::Write(absl::string_view value,
                               const Options& options) const -> Mutated {
  return MutateValue<M>(this->place_, Verb::kWrite, value, options);
}

template <Mode M>
auto BasicMultiValue<M>::WriteBlind(absl::string_view value,
                                    const Options& options) const -> Mutated {
  return MutateValue<M>(this->place_, Verb::kWriteBlind, value, options);
}

template <Mode M>
auto BasicMultiValue<M>::Clear(const Options& options) const -> Mutated {
  return Mutate<M>(this->place_, NewMutation(this->place_, Verb::kClear),
                   options);
}

template <Mode M>
auto BasicMultiValue<M>::Read(const ReadOptions& options) const
    -> ReadingOf<std::vector<std::string>>
requires Reads<M> {
  return Fetch<M>(this->place_, NewRead(this->place_, options), options,
                  &internal::ToValues);
}

// --- Sets ------------------------------------------------------------------

template <Mode M>
auto BasicGrowSet<M>::Add(absl::string_view element,
                          const Options& options) const -> Mutated {
  return AddAll(One(element), options);
}

template <Mode M>
auto BasicGrowSet<M>::AddAll(std::vector<std::string> elements,
                             const Options& options) const -> Mutated {
  return MutateElements<M>(this->place_, Verb::kAdd, std::move(elements),
                           options);
}

template <Mode M>
auto BasicGrowSet<M>::Read(const Page& page, const ReadOptions& options) const
    -> ReadingOf<std::vector<std::string>>
requires Reads<M> {
  replica::ReadRequest request = NewRead(this->place_, options);
  request.spec.after_element = page.after;
  request.spec.limit = page.limit;
  return Fetch<M>(this->place_, std::move(request), options,
                  &internal::ToValues);
}

template <Mode M>
auto BasicGrowSet<M>::Contains(absl::string_view element,
                               const ReadOptions& options) const
    -> ReadingOf<bool>
requires Reads<M> {
  replica::ReadRequest request = NewRead(this->place_, options);
  request.spec.element = std::string(element);
  return Fetch<M>(this->place_, std::move(request), options, &internal::ToFlag);
}

template <Mode M, Type kType>
auto BasicSet<M, kType>::Remove(absl::string_view element,
                                const Options& options) const -> Mutated {
  return RemoveAll(One(element), options);
}

template <Mode M, Type kType>
auto BasicSet<M, kType>::RemoveAll(std::vector<std::string> elements,
                                   const Options& options) const -> Mutated {
  return MutateElements<M>(this->place_, Verb::kRemove, std::move(elements),
                           options);
}

template <Mode M, Type kType>
auto BasicSet<M, kType>::Clear(const Options& options) const -> Mutated {
  return Mutate<M>(this->place_, NewMutation(this->place_, Verb::kClear),
                   options);
}

// --- Flags and counters ----------------------------------------------------

template <Mode M, Type kType>
auto BasicFlag<M, kType>::Enable(const Options& options) const -> Mutated {
  return Mutate<M>(this->place_, NewMutation(this->place_, Verb::kEnable),
                   options);
}

template <Mode M, Type kType>
auto BasicFlag<M, kType>::Disable(const Options& options) const -> Mutated {
  return Mutate<M>(this->place_, NewMutation(this->place_, Verb::kDisable),
                   options);
}

template <Mode M, Type kType>
auto BasicFlag<M, kType>::Read(const ReadOptions& options) const
    -> ReadingOf<bool>
requires Reads<M> {
  return Fetch<M>(this->place_, NewRead(this->place_, options), options,
                  &internal::ToFlag);
}

template <Mode M>
auto BasicCounter<M>::Add(int64_t amount, const Options& options) const
    -> Mutated {
  Mutation mutation = NewMutation(this->place_, Verb::kAdd);
  mutation.amount = amount;
  return Mutate<M>(this->place_, std::move(mutation), options);
}

template <Mode M>
auto BasicCounter<M>::Reset(const Options& options) const -> Mutated {
  return Mutate<M>(this->place_, NewMutation(this->place_, Verb::kReset),
                   options);
}

template <Mode M>
auto BasicCounter<M>::Read(const ReadOptions& options) const
    -> ReadingOf<int64_t>
requires Reads<M> {
  return Fetch<M>(this->place_, NewRead(this->place_, options), options,
                  &internal::ToNumber);
}

// --- Maps and buckets ------------------------------------------------------

template <Mode M>
auto BasicMap<M>::Remove(const Field& field, const Options& options) const
    -> Mutated {
  Mutation mutation = NewMutation(this->place_, Verb::kRemoveField);
  mutation.child = field;
  return Mutate<M>(this->place_, std::move(mutation), options);
}

template <Mode M>
auto BasicMap<M>::Clear(const Options& options) const -> Mutated {
  return Mutate<M>(this->place_, NewMutation(this->place_, Verb::kClear),
                   options);
}

template <Mode M>
auto BasicMap<M>::Read(const FieldPage& page, const ReadOptions& options) const
    -> ReadingOf<View>
requires Reads<M> {
  replica::ReadRequest request = NewRead(this->place_, options);
  request.spec.after_field = page.after;
  request.spec.limit = page.limit;
  return Fetch<M>(this->place_, std::move(request), options, &internal::ToView);
}

template <Mode M>
Place BasicMap<M>::ChildAt(absl::string_view name, Type type) const {
  Place child = this->place_;
  child.fields.push_back({std::string(name), type});
  return child;
}

template <Mode M>
Place BasicBucket<M>::ChildAt(absl::string_view name, Type type) const {
  Place child = place_;
  child.object.key = std::string(name);
  child.object.type = type;
  return child;
}

template <Mode M>
BasicRegister<M> Children<M>::reg(absl::string_view name) const {
  return BasicRegister<M>(ChildAt(name, Type::kRegister));
}
template <Mode M>
BasicMultiValue<M> Children<M>::mv(absl::string_view name) const {
  return BasicMultiValue<M>(ChildAt(name, Type::kMultiValue));
}
template <Mode M>
BasicSet<M, Type::kSet> Children<M>::set(absl::string_view name) const {
  return BasicSet<M, Type::kSet>(ChildAt(name, Type::kSet));
}
template <Mode M>
BasicSet<M, Type::kRemoveSet> Children<M>::rwset(absl::string_view name) const {
  return BasicSet<M, Type::kRemoveSet>(ChildAt(name, Type::kRemoveSet));
}
template <Mode M>
BasicGrowSet<M> Children<M>::gset(absl::string_view name) const {
  return BasicGrowSet<M>(ChildAt(name, Type::kGrowSet));
}
template <Mode M>
BasicFlag<M, Type::kEnableFlag> Children<M>::ewflag(
    absl::string_view name) const {
  return BasicFlag<M, Type::kEnableFlag>(ChildAt(name, Type::kEnableFlag));
}
template <Mode M>
BasicFlag<M, Type::kDisableFlag> Children<M>::dwflag(
    absl::string_view name) const {
  return BasicFlag<M, Type::kDisableFlag>(ChildAt(name, Type::kDisableFlag));
}
template <Mode M>
BasicCounter<M> Children<M>::counter(absl::string_view name) const {
  return BasicCounter<M>(ChildAt(name, Type::kCounter));
}
template <Mode M>
BasicMap<M> Children<M>::map(absl::string_view name) const {
  return BasicMap<M>(ChildAt(name, Type::kMap));
}

Place internal::PlaceOfBucket(Submitter& submitter, absl::string_view name) {
  Place place;
  place.submitter = &submitter;
  place.object.bucket = std::string(name);
  return place;
}

BatchBucket Batch::bucket(absl::string_view name) {
  Place place;
  place.batch = this;
  place.object.bucket = std::string(name);
  return BatchBucket(std::move(place));
}

// The header declares, this file defines: every class in every mode.
#define DOVETAIL_INSTANTIATE(mode)                    \
  template class Handle<mode>;                        \
  template class BasicRegister<mode>;                 \
  template class BasicMultiValue<mode>;               \
  template class BasicGrowSet<mode>;                  \
  template class BasicSet<mode, Type::kSet>;          \
  template class BasicSet<mode, Type::kRemoveSet>;    \
  template class BasicFlag<mode, Type::kEnableFlag>;  \
  template class BasicFlag<mode, Type::kDisableFlag>; \
  template class BasicCounter<mode>;                  \
  template class Children<mode>;                      \
  template class BasicMap<mode>;                      \
  template class BasicBucket<mode>
DOVETAIL_INSTANTIATE(Blocking);
DOVETAIL_INSTANTIATE(Async);
DOVETAIL_INSTANTIATE(Batched);
#undef DOVETAIL_INSTANTIATE

absl::StatusOr<Listing> internal::Lister::ListNow(
    absl::string_view bucket, absl::string_view prefix,
    const std::optional<ObjectId>& after, uint32_t limit,
    const CallOptions& options) {
  std::promise<absl::StatusOr<Listing>> promise;
  auto future = promise.get_future();
  SubmitList(
      {std::string(bucket), std::string(prefix), after, limit}, options,
      [promise = std::move(promise)](absl::StatusOr<Listing> page) mutable {
        promise.set_value(std::move(page));
      });
  return future.get();
}

}  // namespace dovetail
