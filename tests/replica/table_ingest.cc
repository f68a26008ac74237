#include "tests/replica/table_ingest.h"

#include <rocksdb/db.h>
#include <rocksdb/sst_file_writer.h>

#include <memory>

#include "absl/strings/string_view.h"
#include "crdt/check.h"

namespace dovetail::replica {

uint64_t IngestAsTable(Storage& storage, const std::string& directory) {
  rocksdb::Options options;
  options.create_if_missing = true;
  const std::string file = directory + "/rows.sst";
  rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), options);
  DOVETAIL_CHECK(writer.Open(file).ok());
  const absl::Status written = storage.Scan(
      Family::kRows, "", "",
      [&](absl::string_view key, absl::string_view value) {
        DOVETAIL_CHECK(
            writer.Put({key.data(), key.size()}, {value.data(), value.size()})
                .ok());
        return true;
      });
  DOVETAIL_CHECK(written.ok());
  DOVETAIL_CHECK(writer.Finish().ok());
  const uint64_t bytes = writer.FileSize();
  rocksdb::DB* db = nullptr;
  DOVETAIL_CHECK(rocksdb::DB::Open(options, directory + "/taken", &db).ok());
  const std::unique_ptr<rocksdb::DB> owned(db);
  DOVETAIL_CHECK(
      owned->IngestExternalFile({file}, rocksdb::IngestExternalFileOptions())
          .ok());
  return bytes;
}

}  // namespace dovetail::replica
