// What the commands do once their words are parsed: run, print, and say how it
// ended.
#ifndef DOVETAIL_SRC_CLI_COMMANDS_H_
#define DOVETAIL_SRC_CLI_COMMANDS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "src/cli/caller.h"
#include "src/cli/json.h"
#include "src/client/client.h"

namespace dovetail::cli {

// Exit codes, as --help documents them.
enum class Exit : int {
  kOk = 0,
  kFailed = 1,       // refused, or not done, and certainly without effect
  kUsage = 2,        // the command line makes no sense; nothing was sent
  kUnreachable = 3,  // no node could be reached
  kMaybe = 4,        // failed, but may have taken effect
};

struct Output {
  std::ostream& out;
  std::ostream& error;
  bool json = false;
};

// What is left to do once a client is connected.
using ClientJob = std::function<Exit(Client&, const Output&)>;
using Job = std::function<Exit(Caller&, const Output&)>;
// What is left to do without a client.
using LocalJob = std::function<Exit(const Output&)>;
// One that sessions have no part in.
Job OfClient(ClientJob run);

// Prints why something of `kind` failed, and tells the exit code.
Exit Fail(const Output& output, OperationKind kind, const absl::Status& status);

// Runs one operation. A read of a set or map without a limit goes on, page by
// page, to the end.
Exit RunOperation(Caller& caller, const Operation& operation,
                  const CallOptions& call, const Output& output);

// Every object that lives under (bucket, key), one line for each type.
Exit RunGet(Caller& caller, const std::string& bucket, const std::string& key,
            const CallOptions& call, const Output& output);

// Deletes the objects under (bucket, key): of one type, or all.
Exit RunDelete(Caller& caller, const std::string& bucket,
               const std::string& key, std::optional<Type> type,
               const std::optional<Token>& token, const CallOptions& call,
               const Output& output);

// How long the object has to live, and until when.
Exit RunTtl(Caller& caller, const ObjectId& object, const CallOptions& call,
            const Output& output);

struct KeysOptions {
  std::string bucket;
  std::string prefix;
  std::optional<std::string> after;  // a key
  std::optional<Type> after_type;    // of that key; without: all of them
  std::optional<uint64_t> limit;     // objects; without: to the end
};
Exit RunKeys(Caller& caller, const KeysOptions& options,
             const CallOptions& call, const Output& output);

Exit RunStatus(Client& client, const Output& output);
Exit RunDigest(Client& client, const Output& output);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_COMMANDS_H_
