// The small words of the command line: types, paths, levels, tokens.
//
//   field    name:type           "tags:set"; the last colon divides
//   path     field/field/…       "address:map/moves:counter"; a name with a
//                                slash in it is for exec, where paths are lists
//   level    default, quorum, all, or a number of replicas
//   token    base64 or hexadecimal
#ifndef DOVETAIL_SRC_CLI_WORDS_H_
#define DOVETAIL_SRC_CLI_WORDS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "src/client/types.h"

namespace dovetail::cli {

// Errors of all: InvalidArgument, which quotes the word and says what it may
// be.
absl::StatusOr<Type> ParseType(absl::string_view word);
absl::StatusOr<Field> ParseField(absl::string_view word);
absl::StatusOr<std::vector<Field>> ParsePath(absl::string_view word);
absl::StatusOr<Level> ParseLevel(absl::string_view word);
absl::StatusOr<Quorums> ParseQuorums(absl::string_view word);
absl::StatusOr<Durability> ParseDurability(absl::string_view word);
// "500ms", "2s"; a bare number is refused. Greater than zero.
absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view word);
// Milliseconds of "500ms", "90s", "24h", "30d".
absl::StatusOr<int64_t> ParseTtl(absl::string_view word);
absl::StatusOr<int64_t> ParseAmount(absl::string_view word);
absl::StatusOr<Token> ParseToken(absl::string_view word);

// Base64, as ParseToken takes it.
std::string TokenText(const Token& token);

// A number of bytes for people: 734 B, 12.3 KiB, 4.0 GiB.
std::string BytesText(uint64_t bytes);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_WORDS_H_
