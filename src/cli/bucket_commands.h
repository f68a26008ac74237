// `dovetail bucket …`: what buckets say for requests that leave it unsaid.
#ifndef DOVETAIL_SRC_CLI_BUCKET_COMMANDS_H_
#define DOVETAIL_SRC_CLI_BUCKET_COMMANDS_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "src/cli/commands.h"
#include "src/client/client.h"

namespace CLI {
class App;
}

namespace dovetail::cli {

// Properties as words; "default" takes one back.
struct BucketWords {
  std::optional<std::string> r;
  std::optional<std::string> w;
  std::optional<std::string> quorums;
  std::optional<std::string> durability;
  std::optional<std::string> timeout;
  std::optional<std::string> value_bytes_max;
  std::optional<std::string> ttl;
  bool here = false;  // which is none
};
// Errors: InvalidArgument, which quotes the word.
absl::StatusOr<BucketSettings> ParseSettings(const BucketWords& words);

// Adds the commands to `app`. They parse into `bucket`; `said` tells which of
// the shared options are given, `choose` takes what makes the job. All must
// live as long as `app`.
void AddBucketCommands(
    CLI::App& app, std::string& bucket, std::function<BucketWords()> said,
    std::function<void(std::function<absl::StatusOr<ClientJob>()>)> choose);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_BUCKET_COMMANDS_H_
