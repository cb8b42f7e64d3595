// What a backup set of a PostgreSQL cluster says of itself (BackupSession::writer_data()): enough
// to restore it, to start the cluster that comes out, and to measure a differential backup against
// it.
//
// The files of a set, in this order: the data directory, each tablespace, the log. With the log
// come WAL, backup_label, tablespace_map, pg_control and the manifest, with paths relative to the
// data directory. Plain values, no threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::writers {

struct PostgresTablespace {
  std::uint32_t oid = 0;
  std::string name;
  std::string location;  // absolute; PostgreSQL links it as pg_tblspc/<oid>
};

// A database's folder in a tablespace (1663: pg_default).
struct PostgresDatabaseFolder {
  std::uint32_t tablespace_oid = 0;
  std::uint32_t database_oid = 0;
  friend auto operator<=>(const PostgresDatabaseFolder&, const PostgresDatabaseFolder&) = default;
};

struct PostgresSet {
  std::uint64_t system_identifier = 0;
  std::uint32_t timeline = 0;            // at the start of the backup
  std::uint64_t timeline_begin_lsn = 0;  // where it branched off; 0 of timeline 1
  std::uint64_t start_lsn = 0;           // of the backup: its redo point
  std::uint64_t start_unix_us = 0;
  std::uint32_t server_version = 0;   // as libpq counts: 150010
  std::uint32_t control_version = 0;  // of pg_control
  std::uint32_t catalog_version = 0;
  std::uint32_t block_bytes = 0;              // of a relation's page
  std::uint32_t relation_segment_blocks = 0;  // pages per file of a relation
  std::uint32_t wal_block_bytes = 0;
  std::uint32_t wal_segment_bytes = 0;
  bool data_checksums = false;
  bool from_standby = false;
  std::string data_directory;  // absolute
  // Absolute, as the server had them; a distribution may keep them outside of the data directory,
  // and then they are not in the set.
  std::string config_file;
  std::string hba_file;
  std::string ident_file;
  std::vector<PostgresTablespace> tablespaces;
  // At the start of the backup; what is not among them is new to a differential backup against this
  // set. As many as fit.
  std::vector<PostgresDatabaseFolder> database_folders;
};

// At most 64 KiB. kResourceExhausted for a cluster with too many tablespaces for that.
Result<std::string> EncodePostgresSet(const PostgresSet& set);
// kDataLoss for what is none.
Result<PostgresSet> DecodePostgresSet(std::string_view bytes);

}  // namespace capstan::writers
