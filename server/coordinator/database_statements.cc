#include "server/coordinator/database_statements.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
#include "server/messages/messages.h"
#include "vdi/base/check.h"

namespace capstan::coordinator {
namespace {

using catalog::Database;
using catalog::RollForward;
using writers::BackupPreference;
using writers::RecoveryModel;
using writers::ReplicaRole;
using Cell = std::optional<std::string>;

constexpr std::string_view kPathScheme = "sqlite";  // its locations are paths

// SQL Server's numbers of states.
struct DatabaseState {
  int number = 0;
  std::string_view name;
};
constexpr DatabaseState kOnline{0, "ONLINE"};
constexpr DatabaseState kRestoring{1, "RESTORING"};
constexpr DatabaseState kOffline{6, "OFFLINE"};
constexpr DatabaseState kUnknownWriter{6, "UNKNOWN_WRITER"};

writers::DatabaseWriter* WriterOf(const WritersByScheme& writers, const Database& database) {
  const auto writer = writers.find(database.scheme);
  return writer == writers.end() ? nullptr : writer->second;
}

std::string_view PreferenceName(BackupPreference preference) {
  switch (preference) {
    case BackupPreference::kPrimary:
      return "PRIMARY";
    case BackupPreference::kSecondaryOnly:
      return "SECONDARY_ONLY";
    case BackupPreference::kPreferSecondary:
      return "SECONDARY";
    case BackupPreference::kAny:
      return "NONE";
  }
  CAPSTAN_CHECK(false);
}

Cell RoleName(ReplicaRole role) {
  switch (role) {
    case ReplicaRole::kNone:
      return std::nullopt;
    case ReplicaRole::kPrimary:
    case ReplicaRole::kLonePrimary:
      return "PRIMARY";
    case ReplicaRole::kSecondary:
      return "SECONDARY";
  }
  CAPSTAN_CHECK(false);
}

int RecoveryModelNumber(RecoveryModel model) {
  return model == RecoveryModel::kFull ? 1 : model == RecoveryModel::kBulkLogged ? 2 : 3;
}

// What is known of a database at this moment.
struct Look {
  DatabaseState state = kUnknownWriter;
  std::optional<RecoveryModel> recovery_model;
  ReplicaRole role = ReplicaRole::kNone;
  bool read_only = false;
  std::optional<writers::LogStatus> log;
};

// A database that is being restored is not described: there may be none yet.
Look LookAt(const WritersByScheme& writers, const Database& database) {
  Look look;
  look.recovery_model = database.recovery_model;
  writers::DatabaseWriter* const writer = WriterOf(writers, database);
  if (writer == nullptr) {
    return look;
  }
  if (database.roll_forward.state == RollForward::State::kRestoring) {
    look.state = kRestoring;
    return look;
  }
  const auto description = writer->Describe(database.location, database.name);
  look.state = description.ok() ? kOnline : kOffline;
  if (description.ok()) {
    look.recovery_model = EffectiveRecoveryModel(database, *description);
    look.role = description->role;
    look.read_only = description->read_only;
  }
  if (auto log = writer->DescribeLog(database.location); log.ok()) {
    look.log = std::move(log).value();
  }
  return look;
}

bool KeepsLog(const Look& look) {
  return look.log.has_value() && look.log->kept.has_value();
}

// KEPT, NOT_KEPT, or BROKEN with the reason.
Cell LogText(const Look& look) {
  if (!look.log.has_value()) {
    return std::nullopt;
  }
  if (!look.log->broken.empty()) {
    return "BROKEN: " + look.log->broken;
  }
  return KeepsLog(look) ? "KEPT" : "NOT_KEPT";
}

RecoveryModel ModelOf(tsql::AlterDatabaseStatement::RecoveryModel model) {
  using From = tsql::AlterDatabaseStatement::RecoveryModel;
  return model == From::kSimple       ? RecoveryModel::kSimple
         : model == From::kBulkLogged ? RecoveryModel::kBulkLogged
                                      : RecoveryModel::kFull;
}

BackupPreference PreferenceOf(tsql::AlterDatabaseStatement::BackupPreference preference) {
  using From = tsql::AlterDatabaseStatement::BackupPreference;
  switch (preference) {
    case From::kPrimary:
      return BackupPreference::kPrimary;
    case From::kSecondaryOnly:
      return BackupPreference::kSecondaryOnly;
    case From::kSecondary:
      return BackupPreference::kPreferSecondary;
    case From::kNone:
      return BackupPreference::kAny;
  }
  CAPSTAN_CHECK(false);
}

}  // namespace

WritersByScheme ByScheme(const std::vector<writers::DatabaseWriter*>& writers) {
  WritersByScheme by_scheme;
  for (writers::DatabaseWriter* const writer : writers) {
    by_scheme.emplace(writer->scheme(), writer);
  }
  return by_scheme;
}

RecoveryModel EffectiveRecoveryModel(const Database& database,
                                     const writers::DatabaseDescription& description) {
  return database.recovery_model.value_or(description.recovery_model);
}

std::string_view RecoveryModelName(RecoveryModel model) {
  switch (model) {
    case RecoveryModel::kSimple:
      return "SIMPLE";
    case RecoveryModel::kBulkLogged:
      return "BULK_LOGGED";
    case RecoveryModel::kFull:
      return "FULL";
  }
  CAPSTAN_CHECK(false);
}

bool IsPreferredReplica(ReplicaRole role, BackupPreference preference) {
  if (role == ReplicaRole::kNone || preference == BackupPreference::kAny) {
    return true;
  }
  if (role == ReplicaRole::kLonePrimary) {
    return preference != BackupPreference::kSecondaryOnly;
  }
  return (role == ReplicaRole::kPrimary) == (preference == BackupPreference::kPrimary);
}

Status AttachDatabase(catalog::Catalog& catalog, const WritersByScheme& writers,
                      const DriveMap& drives, const tsql::AttachStatement& attach) {
  const std::size_t colon = attach.location.find(':');
  const std::string scheme = attach.location.substr(0, colon);
  const auto writer = writers.find(scheme);
  if (colon == std::string::npos || writer == writers.end()) {
    return SqlError(65002, attach.location, "no writer knows this kind of database")
        .WithHint("write it as sqlite:/path/to/file or postgresql:host=/run/postgresql port=5432");
  }
  std::string location = attach.location.substr(colon + 1);
  if (scheme == kPathScheme) {
    auto mapped = drives.Map(location);
    if (!mapped.ok()) {
      return SqlError(65002, attach.location, mapped.status().message())
          .WithHint(std::string(mapped.status().hint()));
    }
    location = std::move(mapped).value();
    if (location.empty() || location.front() != '/') {
      return SqlError(65002, attach.location, "the path is not absolute");
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(const writers::DatabaseDescription description,
                           writer->second->Describe(location, attach.database));
  return catalog.AddDatabase({.name = attach.database,
                              .scheme = scheme,
                              .location = location,
                              .created_unix_s = description.created_unix_s});
}

Status AlterDatabase(catalog::Catalog& catalog, const WritersByScheme& writers,
                     const tsql::AlterDatabaseStatement& alter) {
  CAPSTAN_ASSIGN_OR_RETURN(Database database, catalog.FindDatabase(alter.database));
  if (alter.recovery_model.has_value()) {
    const RecoveryModel model = ModelOf(*alter.recovery_model);
    writers::DatabaseWriter* const writer = WriterOf(writers, database);
    const bool describable =
        writer != nullptr && database.roll_forward.state != RollForward::State::kRestoring;
    if (model != RecoveryModel::kSimple && describable) {
      const auto description = writer->Describe(database.location, database.name);
      if (description.ok() && description->recovery_model == RecoveryModel::kSimple) {
        return SqlError(65054, database.name, fmt::format("RECOVERY {}", RecoveryModelName(model)),
                        "as it is now it keeps no log that could be backed up")
            .WithHint("a SQLite database keeps one in WAL mode: PRAGMA journal_mode = WAL");
      }
    }
    database.recovery_model = model;
  }
  if (alter.backup_preference.has_value()) {
    database.backup_preference = PreferenceOf(*alter.backup_preference);
  }
  return catalog.UpdateDatabase(database);
}

Result<catalog::Table> DiscoverDatabases(catalog::Catalog& catalog, const WritersByScheme& writers,
                                         const DriveMap& drives, std::vector<std::string> folders) {
  for (std::string& folder : folders) {
    auto mapped = drives.Map(folder);
    if (!mapped.ok()) {
      return SqlError(3201, folder, kPathNotFound).WithHint(std::string(mapped.status().hint()));
    }
    folder = std::move(mapped).value();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Database> known, catalog.ListDatabases());
  catalog::Table table;
  table.columns = {{"source", "nvarchar(260)"},
                   {"name", "nvarchar(128)"},
                   {"state", "nvarchar(4000)"},
                   {"registered_as", "nvarchar(128)"}};
  for (const auto& [scheme, writer] : writers) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::vector<writers::DiscoveredDatabase> found,
                             writer->Discover(folders));
    for (const writers::DiscoveredDatabase& each : found) {
      const std::string source = fmt::format("{}:{}", scheme, each.location);
      const auto registered = std::find_if(known.begin(), known.end(), [&](const Database& other) {
        return fmt::format("{}:{}", other.scheme, other.location) == source;
      });
      table.rows.push_back({source, each.name, each.state,
                            registered == known.end() ? Cell() : Cell(registered->name)});
    }
  }
  return table;
}

Result<catalog::Table> DatabasesTable(catalog::Catalog& catalog, const WritersByScheme& writers) {
  catalog::Table table;
  table.columns = {{"name", "nvarchar(128)"},
                   {"database_id", "int"},
                   {"create_date", "datetime"},
                   {"source", "nvarchar(260)"},
                   {"recovery_model", "tinyint"},
                   {"recovery_model_desc", "nvarchar(60)"},
                   {"state", "tinyint"},
                   {"state_desc", "nvarchar(60)"},
                   {"is_in_standby", "bit"},
                   {"is_read_only", "bit"},
                   {"log_reuse_wait_desc", "nvarchar(60)"},
                   {"log_desc", "nvarchar(4000)"},
                   {"replica_role_desc", "nvarchar(60)"},
                   {"backup_preference_desc", "nvarchar(60)"},
                   {"is_preferred_replica", "bit"}};
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Database> databases, catalog.ListDatabases());
  for (const Database& database : databases) {
    const Look look = LookAt(writers, database);
    const auto& model = look.recovery_model;
    const bool standby = database.roll_forward.state == RollForward::State::kStandby;
    table.rows.push_back(
        {database.name, fmt::to_string(database.database_id),
         catalog::LocalDateTime(database.created_unix_s),
         fmt::format("{}:{}", database.scheme, database.location),
         model ? Cell(fmt::to_string(RecoveryModelNumber(*model))) : Cell(),
         model ? Cell(RecoveryModelName(*model)) : Cell(), fmt::to_string(look.state.number),
         std::string(look.state.name), standby ? "1" : "0", look.read_only ? "1" : "0",
         KeepsLog(look) ? "LOG_BACKUP" : "NOTHING", LogText(look), RoleName(look.role),
         std::string(PreferenceName(database.backup_preference)),
         IsPreferredReplica(look.role, database.backup_preference) ? "1" : "0"});
  }
  return table;
}

Result<catalog::Table> LogStatsTable(catalog::Catalog& catalog, const WritersByScheme& writers) {
  catalog::Table table;
  table.columns = {{"database_id", "int"},
                   {"database_name", "nvarchar(128)"},
                   {"recovery_model", "nvarchar(60)"},
                   {"log_min_lsn", "numeric(25,0)"},
                   {"log_end_lsn", "numeric(25,0)"},
                   {"kept_log_bytes", "bigint"},
                   {"kept_log_limit_bytes", "bigint"},
                   {"log_truncation_holdup_reason", "nvarchar(60)"},
                   {"log_broken_reason", "nvarchar(4000)"}};
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Database> databases, catalog.ListDatabases());
  for (const Database& database : databases) {
    const Look look = LookAt(writers, database);
    if (!look.log.has_value()) {
      continue;  // its writer keeps no log, or it is being restored
    }
    const writers::LogStatus& log = *look.log;
    table.rows.push_back(
        {fmt::to_string(database.database_id), database.name,
         look.recovery_model ? Cell(RecoveryModelName(*look.recovery_model)) : Cell(),
         log.kept ? Cell(fmt::to_string(log.kept->first.value)) : Cell(),
         log.kept ? Cell(fmt::to_string(log.kept->last.value)) : Cell(), fmt::to_string(log.bytes),
         log.limit_bytes == 0 ? Cell() : Cell(fmt::to_string(log.limit_bytes)),
         KeepsLog(look) ? "LOG_BACKUP" : "NOTHING",
         log.broken.empty() ? Cell() : Cell(log.broken)});
  }
  return table;
}

}  // namespace capstan::coordinator
