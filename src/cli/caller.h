// Through what commands run their operations: a client, or a session of it that
// lives in a file, so that one command sees what the one before saw.
#ifndef DOVETAIL_SRC_CLI_CALLER_H_
#define DOVETAIL_SRC_CLI_CALLER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/client/client.h"

namespace dovetail::cli {

class Caller {
 public:
  // `client` must outlive it.
  explicit Caller(Client& client) : client_(client) {}

  // Goes on with the session that `file` holds; none, or an empty file: with
  // a new one. Errors: InvalidArgument (no session of this cluster, or it
  // cannot be read).
  absl::Status OpenSession(const std::string& file);
  // Adds what was seen to what the file holds by now, which may be more than
  // before, and puts it in its place at once. Nothing without a session.
  // Errors: Unavailable.
  absl::Status SaveSession();

  void Submit(Operation operation, const CallOptions& options,
              absl::AnyInvocable<void(Result)> done);
  // Submits and waits.
  Result Run(Operation operation, const CallOptions& options);

  // One page.
  absl::StatusOr<Listing> List(const std::string& bucket,
                               const std::string& prefix,
                               const std::optional<ObjectId>& after,
                               uint32_t limit, const CallOptions& options);

  bool has_session() const { return session_ != nullptr; }
  // For what sessions have no part in.
  Client& client() { return client_; }

 private:
  absl::Status AddFile();

  Client& client_;
  std::unique_ptr<CausalSession> session_;
  std::string file_;
};

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_CALLER_H_
