// `dovetail cluster transfers`: what is on its way to new owners.
#ifndef DOVETAIL_SRC_CLI_TRANSFER_COMMANDS_H_
#define DOVETAIL_SRC_CLI_TRANSFER_COMMANDS_H_

#include "src/cli/commands.h"
#include "src/client/client.h"

namespace dovetail::cli {

// Asks each member that can be reached, over a connection of its own, for the
// partitions that it has not got whole yet. Fails if one did not answer.
Exit RunClusterTransfers(Client& client, const Output& output);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_TRANSFER_COMMANDS_H_
