// Every limit on what a client may ask for, in one place. An operation over a
// limit is refused with a typed error before memory is spent and changes
// nothing (docs/operating.md lists them for users).
#ifndef DOVETAIL_CRDT_LIMITS_H_
#define DOVETAIL_CRDT_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace dovetail::crdt {

inline constexpr size_t kBucketBytesMax = 256;
inline constexpr size_t kKeyBytesMax = 4 << 10;
inline constexpr size_t kElementBytesMax = 64 << 10;
inline constexpr size_t kFieldBytesMax = 4 << 10;
inline constexpr size_t kValueBytesMax = 1 << 20;
// Map fields on the way from the object to a leaf. 8, since each level is one
// more part of every row key below it.
inline constexpr size_t kNestingMax = 8;
// The longest leaf path: an escaped component takes at most twice its bytes and
// two more, a field one more for its type.
inline constexpr size_t kPathBytesMax =
    kNestingMax * (2 * kFieldBytesMax + 3) + 2 * kElementBytesMax + 2;
// Operations in one client call, and operations in one atomic batch.
inline constexpr size_t kOperationsPerCallMax = 10'000;
inline constexpr size_t kOperationsPerBatchMax = 1'000;
// Elements in one `set add`/`remove`; also the observed dots that one delta
// removes: clearing more is a series of deltas.
inline constexpr size_t kElementsPerOperationMax = 1'000;
inline constexpr size_t kDotsPerClearDelta = 1'000;
// One encoded delta, and with it what one atomic batch may write.
inline constexpr size_t kDeltaBytesMax = 3 << 20;
// An observed token as a client sends it back.
inline constexpr size_t kTokenBytesMax = 1 << 20;
// Bytes of elements, fields and values in one answer; larger objects are read
// in pages.
inline constexpr size_t kReplyBytesMax = 2 << 20;
// Concurrent values of one multi-value register or register; a blind write on
// top of so many is refused.
inline constexpr size_t kSiblingsMax = 100;
// When an object may expire: the end of the year 9999, in milliseconds since
// 1970. A longer time to live is a mistake of units.
inline constexpr uint64_t kExpiresMsMax = 253'402'300'799'999;
// One writer's additions (and, apart, subtractions) in one counter entry.
inline constexpr uint64_t kTallyMax = uint64_t{1} << 62;

static_assert(kElementBytesMax <= kValueBytesMax);
static_assert(kValueBytesMax < kReplyBytesMax);
static_assert(kReplyBytesMax < kDeltaBytesMax);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_LIMITS_H_
