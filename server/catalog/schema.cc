#include "server/catalog/schema.h"

#include <array>
#include <cstdint>

#include <fmt/format.h>

namespace capstan::catalog {
namespace {

constexpr std::int64_t kApplicationId = 0x43505354;  // "CPST"

// Version 1.
//
// Columns have msdb's names, order, meaning and types, since the declared type is what a query
// reports; numeric_text stands for numeric(25,0), see kDecimalCollation. A row of history with
// visible = 0 belongs to a backup that is prepared and not yet committed.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE catalog_database (
  database_id INTEGER PRIMARY KEY AUTOINCREMENT,
  name nvarchar(128) NOT NULL UNIQUE,
  scheme TEXT NOT NULL,
  location TEXT NOT NULL,
  created_unix_s INTEGER NOT NULL
);
INSERT INTO sqlite_sequence (name, seq) VALUES ('catalog_database', 4);

CREATE TABLE catalog_media_set (
  media_set_id INTEGER PRIMARY KEY AUTOINCREMENT,
  media_uuid uniqueidentifier NOT NULL UNIQUE,
  media_family_count tinyint,
  name nvarchar(128),
  description nvarchar(255),
  software_name nvarchar(128),
  software_vendor_id int,
  MTF_major_version tinyint,
  mirror_count tinyint,
  is_password_protected bit,
  is_compressed bit,
  is_encrypted bit,
  visible INTEGER NOT NULL
);

CREATE TABLE catalog_media_family (
  media_set_id int NOT NULL REFERENCES catalog_media_set ON DELETE CASCADE,
  family_sequence_number tinyint NOT NULL,
  media_family_id uniqueidentifier,
  media_count int NOT NULL,
  logical_device_name nvarchar(128),
  physical_device_name nvarchar(260),
  device_type tinyint,
  physical_block_size int,
  mirror tinyint NOT NULL,
  visible INTEGER NOT NULL,
  PRIMARY KEY (media_set_id, family_sequence_number, media_count, mirror)
);

CREATE TABLE catalog_backup_set (
  backup_set_id INTEGER PRIMARY KEY AUTOINCREMENT,
  backup_set_uuid uniqueidentifier NOT NULL UNIQUE,
  media_set_id int NOT NULL REFERENCES catalog_media_set,
  first_family_number tinyint,
  first_media_number smallint,
  last_family_number tinyint,
  last_media_number smallint,
  catalog_family_number tinyint,
  catalog_media_number smallint,
  position int,
  expiration_date datetime,
  software_vendor_id int,
  name nvarchar(128),
  description nvarchar(255),
  user_name nvarchar(128),
  software_major_version tinyint,
  software_minor_version tinyint,
  software_build_version smallint,
  time_zone smallint,
  mtf_minor_version tinyint,
  first_lsn numeric_text(25,0) COLLATE capstan_decimal,
  last_lsn numeric_text(25,0) COLLATE capstan_decimal,
  checkpoint_lsn numeric_text(25,0) COLLATE capstan_decimal,
  database_backup_lsn numeric_text(25,0) COLLATE capstan_decimal,
  database_creation_date datetime,
  backup_start_date datetime,
  backup_finish_date datetime,
  type char(1),
  sort_order smallint,
  code_page smallint,
  compatibility_level tinyint,
  database_version nvarchar(128),
  backup_size numeric(20,0),
  database_name nvarchar(128),
  server_name nvarchar(128),
  machine_name nvarchar(128),
  flags int,
  unicode_locale int,
  unicode_compare_style int,
  collation_name nvarchar(128),
  is_password_protected bit,
  recovery_model nvarchar(60),
  has_bulk_logged_data bit,
  is_snapshot bit,
  is_readonly bit,
  is_single_user bit,
  has_backup_checksums bit,
  is_damaged bit,
  begins_log_chain bit,
  has_incomplete_metadata bit,
  is_force_offline bit,
  is_copy_only bit,
  first_recovery_fork_guid uniqueidentifier,
  last_recovery_fork_guid uniqueidentifier,
  fork_point_lsn numeric_text(25,0) COLLATE capstan_decimal,
  database_guid uniqueidentifier,
  family_guid uniqueidentifier,
  differential_base_lsn numeric_text(25,0) COLLATE capstan_decimal,
  differential_base_guid uniqueidentifier,
  compressed_backup_size numeric(20,0),
  key_algorithm nvarchar(32),
  encryptor_thumbprint varbinary(20),
  encryptor_type nvarchar(32),
  last_valid_restore_time datetime,
  compression_algorithm nvarchar(32),
  visible INTEGER NOT NULL
);
CREATE INDEX catalog_backup_set_media ON catalog_backup_set (media_set_id);
CREATE INDEX catalog_backup_set_database ON catalog_backup_set (database_name, backup_finish_date);

CREATE TABLE catalog_backup_file (
  backup_set_id int NOT NULL REFERENCES catalog_backup_set ON DELETE CASCADE,
  first_family_number tinyint,
  first_media_number smallint,
  filegroup_name nvarchar(128),
  page_size int,
  file_number numeric(10,0) NOT NULL,
  backed_up_page_count numeric(10,0),
  file_type char(1),
  source_file_block_size numeric(10,0),
  file_size numeric(20,0),
  logical_name nvarchar(128),
  physical_drive nvarchar(260),
  physical_name nvarchar(260),
  state tinyint,
  state_desc nvarchar(64),
  create_lsn numeric_text(25,0) COLLATE capstan_decimal,
  drop_lsn numeric_text(25,0) COLLATE capstan_decimal,
  file_guid uniqueidentifier,
  read_only_lsn numeric_text(25,0) COLLATE capstan_decimal,
  read_write_lsn numeric_text(25,0) COLLATE capstan_decimal,
  differential_base_lsn numeric_text(25,0) COLLATE capstan_decimal,
  differential_base_guid uniqueidentifier,
  backup_size numeric(20,0),
  filegroup_guid uniqueidentifier,
  is_readonly bit,
  is_present bit,
  PRIMARY KEY (backup_set_id, file_number)
);

CREATE TABLE catalog_restore_history (
  restore_history_id INTEGER PRIMARY KEY AUTOINCREMENT,
  restore_date datetime,
  destination_database_name nvarchar(128),
  user_name nvarchar(128),
  backup_set_id int REFERENCES catalog_backup_set,
  restore_type char(1),
  replace bit,
  recovery bit,
  restart bit,
  stop_at datetime,
  device_count tinyint,
  stop_at_mark_name nvarchar(128),
  stop_before bit,
  backup_set_uuid uniqueidentifier NOT NULL
);
CREATE INDEX catalog_restore_history_set ON catalog_restore_history (backup_set_id);

CREATE TABLE catalog_restore_file (
  restore_history_id int NOT NULL REFERENCES catalog_restore_history ON DELETE CASCADE,
  file_number numeric(10,0) NOT NULL,
  destination_phys_drive nvarchar(260),
  destination_phys_name nvarchar(260),
  PRIMARY KEY (restore_history_id, file_number)
);

CREATE TABLE catalog_job (
  job_guid TEXT NOT NULL PRIMARY KEY,
  prepared INTEGER NOT NULL,
  statement TEXT NOT NULL,
  database_name TEXT NOT NULL,
  restore_scheme TEXT NOT NULL,
  backup_set_id INTEGER REFERENCES catalog_backup_set
);

CREATE TABLE catalog_job_device (
  job_guid TEXT NOT NULL REFERENCES catalog_job ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  device_class TEXT NOT NULL,
  target TEXT NOT NULL,
  token TEXT NOT NULL,
  media_family_id INTEGER NOT NULL,
  family_number INTEGER NOT NULL,
  PRIMARY KEY (job_guid, ordinal)
);

CREATE TABLE catalog_job_restore_path (
  job_guid TEXT NOT NULL REFERENCES catalog_job ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  path TEXT NOT NULL,
  PRIMARY KEY (job_guid, ordinal)
);
)sql";

// Version 2: options of the server, and the history of jobs under msdb's name for it and with what
// that has no columns for.
constexpr const char* kVersion2 = R"sql(
CREATE TABLE catalog_option (
  name TEXT NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
);

CREATE TABLE catalog_job_history (
  instance_id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id uniqueidentifier,
  step_id int,
  step_name nvarchar(128),
  sql_message_id int,
  sql_severity int,
  message nvarchar(4000),
  run_status int,
  run_status_desc nvarchar(60),
  run_date int,
  run_time int,
  run_duration int,
  operator_id_emailed int,
  operator_id_netsent int,
  operator_id_paged int,
  retries_attempted int,
  server nvarchar(128),
  database_name nvarchar(128),
  executed_as nvarchar(128),
  started datetime,
  progress_time datetime,
  percent_complete int,
  query nvarchar(4000),
  ended datetime,
  state int,
  source nvarchar(128),
  possible_reasons nvarchar(4000)
);
)sql";

// Version 3: by what a backup set is recognised on its media. NULL in the rows that were there
// before, since their media cannot be asked.
constexpr const char* kVersion3 = R"sql(
ALTER TABLE catalog_backup_set ADD COLUMN backup_set_digest varbinary(32);
)sql";

// Version 4: chains of backups. What the databases are set to and how far they have been restored;
// what a set says of the log, for those who plan backups and restores; sets whose media are gone.
// Backups that were there before cannot be gone on with: a chain begins with the next full one.
constexpr const char* kVersion4 = R"sql(
ALTER TABLE catalog_database ADD COLUMN recovery_model INTEGER;
ALTER TABLE catalog_database ADD COLUMN backup_preference INTEGER NOT NULL DEFAULT 3;
ALTER TABLE catalog_database ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
ALTER TABLE catalog_database ADD COLUMN base_guid TEXT NOT NULL DEFAULT '';
ALTER TABLE catalog_database ADD COLUMN redo_lsn TEXT NOT NULL DEFAULT '0';
ALTER TABLE catalog_database ADD COLUMN recovery_fork TEXT NOT NULL DEFAULT '';
ALTER TABLE catalog_database ADD COLUMN backups_after INTEGER NOT NULL DEFAULT 0;
ALTER TABLE catalog_database ADD COLUMN log_after INTEGER NOT NULL DEFAULT 0;
UPDATE catalog_database SET backups_after = (SELECT coalesce(max(backup_set_id), 0) FROM
  catalog_backup_set);

CREATE TABLE catalog_database_file (
  database_id INTEGER NOT NULL REFERENCES catalog_database ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  logical_name TEXT NOT NULL,
  physical_name TEXT NOT NULL,
  PRIMARY KEY (database_id, ordinal)
);

ALTER TABLE catalog_backup_set ADD COLUMN writer TEXT NOT NULL DEFAULT '';
ALTER TABLE catalog_backup_set ADD COLUMN writer_data TEXT;
ALTER TABLE catalog_backup_set ADD COLUMN restarts_log INTEGER NOT NULL DEFAULT 0;
ALTER TABLE catalog_backup_set ADD COLUMN tail_log INTEGER NOT NULL DEFAULT 0;
ALTER TABLE catalog_backup_set ADD COLUMN start_unix_s INTEGER;
ALTER TABLE catalog_backup_set ADD COLUMN finish_unix_s INTEGER;
ALTER TABLE catalog_backup_set ADD COLUMN expiration_unix_s INTEGER;
ALTER TABLE catalog_backup_set ADD COLUMN is_expired bit NOT NULL DEFAULT 0;
CREATE INDEX catalog_backup_set_chain ON catalog_backup_set (database_name, type, last_lsn);
)sql";

// When sets began and ended, to the microsecond. NULL where only the second is known.
constexpr const char* kSetTimes = R"sql(
ALTER TABLE catalog_backup_set ADD COLUMN start_unix_us INTEGER;
ALTER TABLE catalog_backup_set ADD COLUMN finish_unix_us INTEGER;
)sql";

// Restores that were interrupted, and how far each is: frames as server/engine/restart has them.
constexpr const char* kInterruptedRestores = R"sql(
ALTER TABLE catalog_job ADD COLUMN restore_name TEXT NOT NULL DEFAULT '';
ALTER TABLE catalog_job ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE catalog_job ADD COLUMN restored_set_guid TEXT NOT NULL DEFAULT '';
ALTER TABLE catalog_job ADD COLUMN restored_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE catalog_job ADD COLUMN total_bytes INTEGER NOT NULL DEFAULT 0;

CREATE TABLE catalog_job_checkpoint (
  checkpoint_id INTEGER PRIMARY KEY,
  job_guid TEXT NOT NULL REFERENCES catalog_job ON DELETE CASCADE,
  frames BLOB NOT NULL
);
CREATE INDEX catalog_job_checkpoint_job ON catalog_job_checkpoint (job_guid);
)sql";

// Backups that were interrupted: how often each was gone on with.
constexpr const char* kInterruptedBackups = R"sql(
ALTER TABLE catalog_job ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
)sql";

constexpr std::array<const char*, 7> kSteps = {kVersion1,          kVersion2, kVersion3,
                                               kVersion4,          kSetTimes, kInterruptedRestores,
                                               kInterruptedBackups};

// What requesters see. Views hold nothing, so they are no part of the steps: every upgrade makes
// all of them anew. A view that is changed needs a step, if only an empty one.
//
// Each has a condition on a column (not the rowid), even one that always holds: a query that uses
// no column at all (count(*)) would otherwise look to the authorizer as if it read the table
// itself.
constexpr const char* kDropViews = R"sql(
DROP VIEW IF EXISTS msdb_dbo_backupmediaset;
DROP VIEW IF EXISTS msdb_dbo_backupmediafamily;
DROP VIEW IF EXISTS msdb_dbo_backupset;
DROP VIEW IF EXISTS msdb_dbo_backupfile;
DROP VIEW IF EXISTS msdb_dbo_restorehistory;
DROP VIEW IF EXISTS msdb_dbo_restorefile;
DROP VIEW IF EXISTS msdb_dbo_sysjobhistory;
DROP VIEW IF EXISTS msdb_dbo_backupjobhistory;
)sql";
constexpr const char* kCreateViews = R"sql(
CREATE VIEW msdb_dbo_backupmediaset AS
SELECT media_set_id, media_uuid, media_family_count, name, description, software_name,
       software_vendor_id, MTF_major_version, mirror_count, is_password_protected, is_compressed,
       is_encrypted
FROM catalog_media_set WHERE visible = 1;

CREATE VIEW msdb_dbo_backupmediafamily AS
SELECT media_set_id, family_sequence_number, media_family_id, media_count, logical_device_name,
       physical_device_name, device_type, physical_block_size, mirror
FROM catalog_media_family WHERE visible = 1;

CREATE VIEW msdb_dbo_backupset AS
SELECT backup_set_id, backup_set_uuid, media_set_id, first_family_number, first_media_number,
       last_family_number, last_media_number, catalog_family_number, catalog_media_number, position,
       expiration_date, software_vendor_id, name, description, user_name, software_major_version,
       software_minor_version, software_build_version, time_zone, mtf_minor_version, first_lsn,
       last_lsn, checkpoint_lsn, database_backup_lsn, database_creation_date, backup_start_date,
       backup_finish_date, type, sort_order, code_page, compatibility_level, database_version,
       backup_size, database_name, server_name, machine_name, flags, unicode_locale,
       unicode_compare_style, collation_name, is_password_protected, recovery_model,
       has_bulk_logged_data, is_snapshot, is_readonly, is_single_user, has_backup_checksums,
       is_damaged, begins_log_chain, has_incomplete_metadata, is_force_offline, is_copy_only,
       first_recovery_fork_guid, last_recovery_fork_guid, fork_point_lsn, database_guid,
       family_guid, differential_base_lsn, differential_base_guid, compressed_backup_size,
       key_algorithm, encryptor_thumbprint, encryptor_type, last_valid_restore_time,
       compression_algorithm, backup_set_digest, is_expired
FROM catalog_backup_set WHERE visible = 1;

CREATE VIEW msdb_dbo_backupfile AS
SELECT file.backup_set_id, file.first_family_number, file.first_media_number, file.filegroup_name,
       file.page_size, file.file_number, file.backed_up_page_count, file.file_type,
       file.source_file_block_size, file.file_size, file.logical_name, file.physical_drive,
       file.physical_name, file.state, file.state_desc, file.create_lsn, file.drop_lsn,
       file.file_guid, file.read_only_lsn, file.read_write_lsn, file.differential_base_lsn,
       file.differential_base_guid, file.backup_size, file.filegroup_guid, file.is_readonly,
       file.is_present
FROM catalog_backup_file AS file
JOIN catalog_backup_set AS parent ON parent.backup_set_id = file.backup_set_id
WHERE parent.visible = 1;

CREATE VIEW msdb_dbo_restorehistory AS
SELECT restore_history_id, restore_date, destination_database_name, user_name, backup_set_id,
       restore_type, replace, recovery, restart, stop_at, device_count, stop_at_mark_name,
       stop_before, backup_set_uuid
FROM catalog_restore_history WHERE backup_set_uuid <> '';

CREATE VIEW msdb_dbo_restorefile AS
SELECT restore_history_id, file_number, destination_phys_drive, destination_phys_name
FROM catalog_restore_file WHERE restore_history_id > 0;

CREATE VIEW msdb_dbo_sysjobhistory AS
SELECT instance_id, job_id, step_id, step_name, sql_message_id, sql_severity, message, run_status,
       run_date, run_time, run_duration, operator_id_emailed, operator_id_netsent,
       operator_id_paged, retries_attempted, server
FROM catalog_job_history WHERE run_status >= 0;

CREATE VIEW msdb_dbo_backupjobhistory AS
SELECT instance_id, step_name AS command, database_name, executed_as, started, percent_complete,
       progress_time, job_id AS source_guid, query, run_status_desc AS status, ended,
       sql_message_id AS code, sql_severity AS severity, state, source, message AS description,
       possible_reasons
FROM catalog_job_history WHERE run_status >= 0;
)sql";

Status ForeignError(const Connection& connection) {
  return Error(Code::kFailedPrecondition,
               "'{}' is an SQLite database of another program, not a catalog", connection.path())
      .WithHint("give capstand a data directory of its own");
}

// An empty file, or one of ours.
Status CheckOwner(Connection& connection) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t owner,
                           connection.QueryInteger("PRAGMA application_id"));
  if (owner == kApplicationId) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t objects,
                           connection.QueryInteger("SELECT count(*) FROM sqlite_schema"));
  return owner == 0 && objects == 0 ? OkStatus() : ForeignError(connection);
}

}  // namespace

std::span<const char* const> SchemaSteps() {
  return kSteps;
}

Status UpgradeSchema(Connection& connection, std::span<const char* const> steps) {
  CAPSTAN_RETURN_IF_ERROR(CheckOwner(connection));
  CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t version,
                           connection.QueryInteger("PRAGMA user_version"));
  const auto newest = static_cast<std::int64_t>(steps.size());
  if (version > newest) {
    return Error(Code::kFailedPrecondition,
                 "the catalog '{}' has schema version {}, and this capstand knows versions up to "
                 "{}",
                 connection.path(), version, newest)
        .WithHint("start the newer capstand that wrote it; a catalog cannot be taken back");
  }
  if (version < 0) {
    return DamagedError(connection.path(), fmt::format("its schema version is {}", version));
  }
  if (version == newest) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection));
  CAPSTAN_RETURN_IF_ERROR(connection.Execute(kDropViews));
  for (const char* step : steps.subspan(static_cast<std::size_t>(version))) {
    CAPSTAN_RETURN_IF_ERROR(connection.Execute(step));
  }
  CAPSTAN_RETURN_IF_ERROR(connection.Execute(kCreateViews));
  const std::string stamp =
      fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, newest);
  CAPSTAN_RETURN_IF_ERROR(connection.Execute(stamp.c_str()));
  return transaction.Commit();
}

}  // namespace capstan::catalog
