// The part of client_codec.h that is about backups.
#include <string>

#include "net/client_codec.h"
#include "net/guarded.h"

namespace dovetail::net {

void EncodeBackupReply(const absl::StatusOr<BackupMade>& reply,
                       wire::BackupReply::Builder out) {
  if (!reply.ok()) return EncodeError(reply.status(), out.initError());
  auto made = out.initMade();
  made.setPath(capnp::Text::Reader(reply->path.c_str(), reply->path.size()));
  made.setFiles(reply->files);
  made.setBytes(reply->bytes);
}

absl::StatusOr<BackupMade> DecodeBackupReply(wire::BackupReply::Reader in) {
  return Guarded([&]() -> absl::StatusOr<BackupMade> {
    if (in.isError()) return DecodeError(in.getError());
    if (!in.isMade()) {
      return absl::InvalidArgumentError("reply of an unknown kind");
    }
    const auto made = in.getMade();
    return BackupMade{AsString(made.getPath()), made.getFiles(),
                      made.getBytes()};
  });
}

}  // namespace dovetail::net
