// `dovetail backup …`: copies of what the nodes hold, and the way back.
#ifndef DOVETAIL_SRC_CLI_BACKUP_COMMANDS_H_
#define DOVETAIL_SRC_CLI_BACKUP_COMMANDS_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "src/cli/commands.h"
#include "src/client/client.h"

namespace CLI {
class App;
}

namespace dovetail::cli {

// Adds the commands to `app`. `nodes` is the shared option; it must live as
// long as `app`. `choose` takes what runs with a client, `choose_local` what
// runs without one.
void AddBackupCommands(
    CLI::App& app, const std::string& nodes,
    std::function<void(std::function<absl::StatusOr<ClientJob>()>)> choose,
    std::function<void(std::function<Exit(const Output&)>)> choose_local);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_BACKUP_COMMANDS_H_
