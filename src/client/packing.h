// Which operations share a call: how the client coalesces what is in flight.
//
// All operations of a call have one set of options, but reads do not care for
// W and durability, nor mutations for R. So a call starts open, and the first
// read settles its R, the first mutation its W and durability.
#ifndef DOVETAIL_SRC_CLIENT_PACKING_H_
#define DOVETAIL_SRC_CLIENT_PACKING_H_

#include <cstddef>

#include "src/client/types.h"

namespace dovetail::internal {

// What an operation takes of a call's limits.
struct Weight {
  size_t operations = 0;  // mutations of a batch count one each
  size_t bytes = 0;       // on the wire, from above
};
Weight Weigh(const Operation& operation);

bool IsMutation(const Operation& operation);

// The operations that were put into one call so far.
class CallShape {
 public:
  // Limits of one call. An operation over `bytes_max` goes alone.
  CallShape(size_t operations_max, size_t bytes_max)
      : operations_max_(operations_max), bytes_max_(bytes_max) {}

  // Whether it may join; if so it is counted.
  bool TryAdd(const Operation& operation, const CallOptions& options,
              const Weight& weight);

  const CallOptions& options() const { return options_; }
  size_t bytes() const { return total_.bytes; }

 private:
  bool Agrees(bool mutation, const CallOptions& options) const;

  const size_t operations_max_;
  const size_t bytes_max_;
  CallOptions options_;
  bool has_read_ = false;
  bool has_mutation_ = false;
  Weight total_;
};

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_PACKING_H_
