#include "server/writers/postgres/postgres_server.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <sys/stat.h>

#include "server/writers/postgres/pg_control.h"
#include "server/writers/volume_name.h"

namespace capstan::writers {
namespace {

constexpr int kOldestVersion = 150000;
// Between the start of a server's first process and when it counts itself as started.
constexpr std::int64_t kStartSlackSeconds = 60;

Status AskSettings(PostgresConnection& connection, PostgresServer* server) {
  auto asked = connection.Query(
      "SELECT current_setting('data_directory'), current_setting('config_file'), "
      "current_setting('hba_file'), current_setting('ident_file'), "
      "current_setting('server_version'), pg_is_in_recovery(), "
      "extract(epoch FROM pg_postmaster_start_time())::bigint, "
      "system.pg_control_version, system.catalog_version_no, system.system_identifier, "
      "init.database_block_size, init.blocks_per_segment, init.wal_block_size, "
      "init.bytes_per_wal_segment, init.data_page_checksum_version <> 0, "
      // Standbys say how far they have replayed; pg_receivewal and pg_basebackup do not.
      "EXISTS (SELECT FROM pg_stat_replication AS peer WHERE replay_lsn IS NOT NULL AND NOT EXISTS "
      "(SELECT FROM pg_replication_slots WHERE active_pid = peer.pid AND slot_type = 'logical')) "
      "FROM pg_control_system() AS system, pg_control_init() AS init");
  if (asked.status().code() == Code::kPermissionDenied) {
    return std::move(asked).status().WithHint(
        "GRANT pg_read_all_settings, pg_read_all_stats TO the role, and EXECUTE ON FUNCTION "
        "pg_backup_start, pg_backup_stop; or use a superuser");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const PostgresRows rows, std::move(asked));
  PostgresSet& set = server->set;
  const auto number = [&rows](int column) {
    return static_cast<std::uint32_t>(rows.Number(0, column));
  };
  set.data_directory = rows.Text(0, 0);
  set.config_file = rows.Text(0, 1);
  set.hba_file = rows.Text(0, 2);
  set.ident_file = rows.Text(0, 3);
  set.server_version = static_cast<std::uint32_t>(connection.server_version());
  set.control_version = number(7);
  set.catalog_version = number(8);
  set.system_identifier = rows.Number(0, 9);
  set.block_bytes = number(10);
  set.relation_segment_blocks = number(11);
  set.wal_block_bytes = number(12);
  set.wal_segment_bytes = number(13);
  set.data_checksums = rows.IsTrue(0, 14);
  server->version = rows.Text(0, 4);
  server->in_recovery = rows.IsTrue(0, 5);
  set.from_standby = server->in_recovery;
  server->has_standby = rows.IsTrue(0, 15);
  server->started_unix_s = static_cast<std::int64_t>(rows.Number(0, 6));
  return OkStatus();
}

Status AskTablespaces(PostgresConnection& connection, PostgresServer* server) {
  // Those in the data directory itself have a relative location, and go with it.
  CAPSTAN_ASSIGN_OR_RETURN(
      const PostgresRows rows,
      connection.Query("SELECT oid, spcname, pg_tablespace_location(oid), spcname IN "
                       "('pg_default', 'pg_global'), "
                       "CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') "
                       "THEN pg_tablespace_size(oid) ELSE 0 END FROM pg_tablespace ORDER BY oid"));
  for (int row = 0; row < rows.size(); ++row) {
    const std::uint64_t size_bytes = rows.Number(row, 4);
    const std::string location = rows.Text(row, 2);
    if (rows.IsTrue(row, 3) || !location.starts_with('/')) {
      server->data_bytes += size_bytes;
      continue;
    }
    server->set.tablespaces.push_back({.oid = static_cast<std::uint32_t>(rows.Number(row, 0)),
                                       .name = rows.Text(row, 1),
                                       .location = location});
    server->tablespace_bytes.push_back(size_bytes);
  }
  return OkStatus();
}

// Index of the volume that holds this path, in `volumes`, where it is put if it is new there.
std::uint32_t VolumeIndex(const std::string& path, std::vector<std::string>* volumes) {
  struct stat info {};
  const std::string name = ::stat(path.c_str(), &info) == 0 ? VolumeName(info.st_dev) : path;
  const auto found = std::ranges::find(*volumes, name);
  const auto index = static_cast<std::uint32_t>(found - volumes->begin());
  if (found == volumes->end()) {
    volumes->push_back(name);
  }
  return index;
}

}  // namespace

Result<PostgresServer> AskServer(PostgresConnection& connection) {
  if (connection.server_version() < kOldestVersion) {
    return Error(Code::kUnimplemented, "it runs PostgreSQL {}.{}, and 15 is the oldest supported",
                 connection.server_version() / 10000, connection.server_version() % 10000);
  }
  PostgresServer server;
  CAPSTAN_RETURN_IF_ERROR(AskSettings(connection, &server));
  CAPSTAN_RETURN_IF_ERROR(AskTablespaces(connection, &server));
  CAPSTAN_ASSIGN_OR_RETURN(
      const PostgresRows rows,
      connection.Query("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname"));
  for (int row = 0; row < rows.size(); ++row) {
    server.databases.push_back(rows.Text(row, 0));
  }
  return server;
}

Status CheckServerIsHere(const PostgresServer& server, const PostgresConnection& connection) {
  constexpr std::string_view kHint =
      "capstand must run on the host of the cluster: its files are read directly";
  const std::string& directory = server.set.data_directory;
  auto control = ReadPgControl(directory);
  if (control.status().code() == Code::kPermissionDenied) {
    return std::move(control).status().WithHint(
        "run capstand as root or as the user that PostgreSQL runs as: the files of a cluster are "
        "read directly");
  }
  if (!control.ok()) {
    return std::move(control).status().WithHint(std::string(kHint));
  }
  if (control->system_identifier != server.set.system_identifier) {
    return Error(Code::kFailedPrecondition, "'{}' is another cluster's on this host", directory)
        .WithHint(std::string(kHint));
  }
  if (connection.by_socket()) {
    return OkStatus();
  }
  // Lines of postmaster.pid: process, data directory, start in seconds, ...
  std::ifstream file(directory + "/postmaster.pid");
  std::string process, written_directory;
  std::int64_t started_unix_s = 0;
  if (!std::getline(file, process) || !std::getline(file, written_directory) ||
      !(file >> started_unix_s) ||
      std::abs(started_unix_s - server.started_unix_s) > kStartSlackSeconds) {
    return Error(Code::kFailedPrecondition,
                 "'{}' on this host is not of the server that was asked, but of another one of the "
                 "same cluster",
                 directory)
        .WithHint(std::string(kHint));
  }
  return OkStatus();
}

DatabaseDescription DescribeServer(const PostgresServer& server, const std::string& logical_name) {
  const PostgresSet& set = server.set;
  DatabaseDescription description{
      .writer = "postgresql",
      .version = server.version,
      .recovery_model = RecoveryModel::kFull,
      .page_size = set.block_bytes,
      // An identifier has the time at which initdb made it in its upper half.
      .created_unix_s = static_cast<std::int64_t>(set.system_identifier >> 32),
      .role = server.in_recovery   ? ReplicaRole::kSecondary
              : server.has_standby ? ReplicaRole::kPrimary
                                   : ReplicaRole::kLonePrimary,
      .contained = server.databases};
  std::set<std::string> names;
  const auto add = [&](std::string name, const std::string& path, char type,
                       std::uint64_t size_bytes) {
    description.files.push_back(
        {.file_id = static_cast<std::uint32_t>(description.files.size() + 1),
         .logical_name = std::move(name),
         .physical_name = path,
         .type = type,
         .size_bytes = size_bytes,
         .page_size = set.block_bytes,
         .volume = type == 'D' ? VolumeIndex(path, &description.volumes) : 0,
         .whole = false});
    names.insert(description.files.back().logical_name);
  };
  const std::string log_name = logical_name + "_log";
  names.insert(log_name);
  add(logical_name, set.data_directory, 'D', server.data_bytes);
  for (std::size_t i = 0; i < set.tablespaces.size(); ++i) {
    const PostgresTablespace& tablespace = set.tablespaces[i];
    std::string name = logical_name + "_" + tablespace.name;
    if (names.contains(name)) {
      name += fmt::format("_{}", tablespace.oid);
    }
    add(std::move(name), tablespace.location, 'D', server.tablespace_bytes[i]);
  }
  add(log_name, set.data_directory + "/pg_wal", 'L', set.wal_segment_bytes);
  return description;
}

}  // namespace capstan::writers
