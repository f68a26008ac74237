// What would it cost to ship tables of RocksDB in place of rows? For the table
// of figures (repair_table.cc) alone.
#ifndef DOVETAIL_TESTS_REPLICA_TABLE_INGEST_H_
#define DOVETAIL_TESTS_REPLICA_TABLE_INGEST_H_

#include <cstdint>
#include <string>

#include "replica/storage.h"

namespace dovetail::replica {

// Writes all rows of `storage` into one table, which another database below
// `directory` takes in. Returns the bytes of the table.
uint64_t IngestAsTable(Storage& storage, const std::string& directory);

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_TABLE_INGEST_H_
