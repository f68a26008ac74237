// CHECK: a condition that only a bug of ours can break. On in release builds:
// a store that goes on after its own invariant failed spreads the damage.
// What the world can cause (bytes, clients, disks) is an absl::Status instead.
#ifndef DOVETAIL_CRDT_CHECK_H_
#define DOVETAIL_CRDT_CHECK_H_

namespace dovetail::crdt {
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);
}  // namespace dovetail::crdt

#define DOVETAIL_CHECK(condition)                                         \
  (__builtin_expect(static_cast<bool>(condition), 1)                      \
       ? static_cast<void>(0)                                             \
       : ::dovetail::crdt::CheckFailed(__FILE__, __LINE__, #condition))

// Returns the Status of `expression` from the calling function if it failed.
#define DOVETAIL_RETURN_IF_ERROR(expression)             \
  do {                                                   \
    if (auto dovetail_status = (expression);             \
        __builtin_expect(!dovetail_status.ok(), 0)) {    \
      return dovetail_status;                            \
    }                                                    \
  } while (false)

// DOVETAIL_ASSIGN_OR_RETURN(auto value, StatusOrExpression());
#define DOVETAIL_ASSIGN_OR_RETURN(target, expression) \
  DOVETAIL_ASSIGN_OR_RETURN_IMPL_(                    \
      DOVETAIL_CONCAT_(dovetail_or_, __LINE__), target, expression)
#define DOVETAIL_ASSIGN_OR_RETURN_IMPL_(name, target, expression) \
  auto name = (expression);                                       \
  if (__builtin_expect(!name.ok(), 0)) return name.status();      \
  target = *std::move(name)
#define DOVETAIL_CONCAT_(a, b) DOVETAIL_CONCAT_IMPL_(a, b)
#define DOVETAIL_CONCAT_IMPL_(a, b) a##b

#endif  // DOVETAIL_CRDT_CHECK_H_
