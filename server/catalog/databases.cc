#include "server/catalog/databases.h"

#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "server/messages/messages.h"

namespace capstan::catalog {
namespace {

constexpr std::string_view kColumns =
    "SELECT database_id, name, scheme, location, created_unix_s, recovery_model, "
    "backup_preference, state, base_guid, redo_lsn, recovery_fork FROM catalog_database";

constexpr std::string_view kNewestSet =
    "(SELECT coalesce(max(backup_set_id), 0) FROM catalog_backup_set)";

std::string OrEmpty(const Guid& guid) {
  return guid.is_zero() ? std::string() : guid.ToString();
}

// Null for "".
Guid GuidOf(const std::string& text) {
  const Result<Guid> guid = Guid::Parse(text);
  return guid.ok() ? guid.value() : Guid();
}

std::uint64_t NumberOf(const std::string& text) {
  std::uint64_t value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value);  // as written below
  return value;
}

std::optional<std::int64_t> NumberOf(const std::optional<writers::RecoveryModel>& model) {
  return model ? std::optional<std::int64_t>(static_cast<int>(*model)) : std::nullopt;
}

Result<Database> ReadDatabase(Connection& connection, const Statement& row) {
  Database database{.database_id = row.Integer(0),
                    .name = row.Text(1),
                    .scheme = row.Text(2),
                    .location = row.Text(3),
                    .created_unix_s = row.Integer(4)};
  if (!row.IsNull(5)) {
    database.recovery_model = static_cast<writers::RecoveryModel>(row.Integer(5));
  }
  database.backup_preference = static_cast<writers::BackupPreference>(row.Integer(6));
  RollForward& roll_forward = database.roll_forward;
  roll_forward.state = static_cast<RollForward::State>(row.Integer(7));
  roll_forward.base_guid = GuidOf(row.Text(8));
  roll_forward.redo_lsn = NumberOf(row.Text(9));
  roll_forward.recovery_fork = GuidOf(row.Text(10));
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement files,
      connection.Prepare("SELECT logical_name, physical_name FROM catalog_database_file "
                         "WHERE database_id = ? ORDER BY ordinal"));
  files.Bind(database.database_id);
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool more, files.Step());
    if (!more) {
      return database;
    }
    roll_forward.files.push_back({.logical_name = files.Text(0), .physical_name = files.Text(1)});
  }
}

Status NoSuchDatabase(std::string_view name) {
  return SqlError(911, name).WithHint(
      "'capstan list databases' shows what is registered, 'capstan database add' registers one");
}

Status WriteRollForward(Connection& connection, std::string_view name,
                        const RollForward& roll_forward) {
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "UPDATE catalog_database SET state = ?2, base_guid = ?3, redo_lsn = ?4, recovery_fork = ?5 "
      "WHERE name = ?1",
      name, static_cast<int>(roll_forward.state), OrEmpty(roll_forward.base_guid),
      fmt::to_string(roll_forward.redo_lsn), OrEmpty(roll_forward.recovery_fork)));
  CAPSTAN_RETURN_IF_ERROR(
      connection.Run("DELETE FROM catalog_database_file WHERE database_id = (SELECT database_id "
                     "FROM catalog_database WHERE name = ?)",
                     name));
  int ordinal = 0;
  for (const RollForward::File& file : roll_forward.files) {
    CAPSTAN_RETURN_IF_ERROR(connection.Run(
        "INSERT INTO catalog_database_file (database_id, ordinal, logical_name, physical_name) "
        "SELECT database_id, ?2, ?3, ?4 FROM catalog_database WHERE name = ?1",
        name, ordinal++, file.logical_name, file.physical_name));
  }
  return OkStatus();
}

}  // namespace

Status InsertDatabase(Connection& connection, const Database& database) {
  Status status = connection.Run(
      fmt::format("INSERT INTO catalog_database (name, scheme, location, created_unix_s, "
                  "recovery_model, backup_preference, backups_after) VALUES (?, ?, ?, ?, ?, ?, {})",
                  kNewestSet),
      database.name, database.scheme, database.location, database.created_unix_s,
      NumberOf(database.recovery_model), static_cast<int>(database.backup_preference));
  if (status.code() == Code::kAlreadyExists) {
    return SqlError(1801, database.name);
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(status));
  return WriteRollForward(connection, database.name, database.roll_forward);
}

Status DeleteDatabase(Connection& connection, std::string_view name) {
  CAPSTAN_RETURN_IF_ERROR(connection.Run("DELETE FROM catalog_database WHERE name = ?", name));
  return connection.changes() == 0 ? SqlError(911, name) : OkStatus();
}

Result<Database> SelectDatabase(Connection& connection, std::string_view name) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement select,
                           connection.Prepare(fmt::format("{} WHERE name = ?", kColumns)));
  select.Bind(name);
  CAPSTAN_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) {
    return NoSuchDatabase(name);
  }
  return ReadDatabase(connection, select);
}

Result<std::vector<Database>> SelectDatabases(Connection& connection) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement select,
                           connection.Prepare(fmt::format("{} ORDER BY database_id", kColumns)));
  std::vector<Database> databases;
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) {
      return databases;
    }
    CAPSTAN_ASSIGN_OR_RETURN(Database database, ReadDatabase(connection, select));
    databases.push_back(std::move(database));
  }
}

Status ChangeDatabase(Connection& connection, const Database& database) {
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "UPDATE catalog_database SET scheme = ?2, location = ?3, recovery_model = ?4, "
      "backup_preference = ?5 WHERE name = ?1",
      database.name, database.scheme, database.location, NumberOf(database.recovery_model),
      static_cast<int>(database.backup_preference)));
  if (connection.changes() == 0) {
    return NoSuchDatabase(database.name);
  }
  if (database.recovery_model == writers::RecoveryModel::kSimple) {
    CAPSTAN_RETURN_IF_ERROR(connection.Run(
        fmt::format("UPDATE catalog_database SET log_after = {} WHERE name = ?", kNewestSet),
        database.name));
  }
  return WriteRollForward(connection, database.name, database.roll_forward);
}

Status PlaceRestored(Connection& connection, const Database& database) {
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      fmt::format("UPDATE catalog_database SET scheme = ?2, location = ?3, backups_after = {} "
                  "WHERE name = ?1",
                  kNewestSet),
      database.name, database.scheme, database.location));
  return connection.changes() == 0
             ? InsertDatabase(connection, database)
             : WriteRollForward(connection, database.name, database.roll_forward);
}

Status CloseAfterTail(Connection& connection, std::int64_t backup_set_id) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement tail,
      connection.Prepare("SELECT database_name, last_lsn, last_recovery_fork_guid FROM "
                         "catalog_backup_set WHERE backup_set_id = ? AND tail_log = 1"));
  tail.Bind(backup_set_id);
  CAPSTAN_ASSIGN_OR_RETURN(const bool found, tail.Step());
  if (!found) {
    return OkStatus();
  }
  // It can only go back to use as it is; to go on it would have to begin with a full backup.
  return connection.Run(
      "UPDATE catalog_database SET state = ?2, redo_lsn = ?3, recovery_fork = coalesce(?4, ''), "
      "base_guid = coalesce((SELECT backup_set_uuid FROM catalog_backup_set AS base WHERE "
      "base.database_name = ?1 AND base.type = 'D' AND base.is_copy_only = 0 AND base.visible = 1 "
      "AND base.backup_set_id > catalog_database.backups_after ORDER BY base.last_lsn DESC, "
      "base.backup_set_id DESC LIMIT 1), '') WHERE name = ?1",
      tail.Text(0), static_cast<int>(RollForward::State::kRestoring), tail.Text(1), tail.Text(2));
}

}  // namespace capstan::catalog
