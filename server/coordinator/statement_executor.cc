#include "server/coordinator/statement_executor.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "server/coordinator/backup_expiry.h"
#include "server/coordinator/database_statements.h"
#include "server/coordinator/device_bench.h"
#include "server/coordinator/help_text.h"
#include "server/coordinator/history_loader.h"
#include "server/coordinator/job_recorder.h"
#include "server/coordinator/listings.h"
#include "server/coordinator/media_map_table.h"
#include "server/coordinator/restore_statement.h"
#include "server/coordinator/server_procedures.h"
#include "server/coordinator/several_databases.h"
#include "server/messages/messages.h"
#include "server/tsql/parser.h"

namespace capstan::coordinator {
namespace {

constexpr int kUserError = 50000;  // SQL Server's number for errors without one of their own

void SendOne(ResponseSink& sink, const Status& error, int line) {
  const MessageInfo* info = FindMessage(error.reason());
  const int usual_state = info ? info->state : 1;
  sink.OnMessage({.number = info ? info->number : kUserError,
                  .severity = info ? info->severity : 16,
                  .state = error.state() != 0 ? error.state() : usual_state,
                  .line = line,
                  .text = std::string(error.message()),
                  .hint = std::string(error.hint())});
}

std::int64_t NowUnixSeconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

// Sends an error and what goes before it; and 3013 with the name of what it ended, if that has one.
void SendError(ResponseSink& sink, const Status& status, int line, std::string_view terminated) {
  if (status.earlier() != nullptr) {
    SendOne(sink, *status.earlier(), line);
  }
  SendOne(sink, status, line);
  if (!terminated.empty()) {
    sink.OnMessage({.number = 3013,
                    .severity = 16,
                    .state = 1,
                    .line = line,
                    .text = MessageText(3013, terminated),
                    .hint = ""});
  }
}

}  // namespace

// One statement being run: what it says goes to the sink with the statement's line.
class StatementExecutor::Run final : private engine::JobObserver {
 public:
  Run(const Parts& parts, const Session& session, const tsql::Statement& statement,
      ResponseSink& sink)
      : parts_(parts), session_(session), statement_(statement), sink_(sink) {}

  bool Execute() {
    return std::visit([this](const auto& body) { return Body(body); }, statement_.body);
  }

 private:
  void OnMessage(int number, const std::string& text) override {
    sink_.OnMessage({.number = number, .line = statement_.line, .text = text, .hint = ""});
  }
  void OnProgress(const engine::JobSnapshot& snapshot) override { sink_.OnProgress(snapshot); }

  // After a failed BACKUP or RESTORE, 3013 with its name comes last.
  bool Report(const Status& status, std::string_view terminated = "") {
    if (status.ok()) {
      return true;
    }
    const MessageInfo* const info = FindMessage(status.reason());
    parts_.counters.NoteError(info != nullptr ? info->number : kUserError);
    SendError(sink_, status, statement_.line, terminated);
    return false;
  }

  // Runs a job, with its record.
  template <typename Carry>
  Status RunRecorded(const std::string& database, std::string_view command, const Carry& carry) {
    JobRecorder recorder(parts_.engine.parts().catalog, *this,
                         {.command = std::string(command),
                          .database_name = database,
                          .user_name = session_.login,
                          .server_name = parts_.engine.parts().settings.server_name,
                          .statement = statement_.text});
    JobCounters::Watch watch(parts_.counters, recorder);
    const auto begin = std::chrono::steady_clock::now();
    Status status = carry(watch);
    parts_.counters.NoteJob(command, status, std::chrono::steady_clock::now() - begin);
    recorder.Finish(status);
    return status;
  }

  engine::TransferRequest Transfer(const std::vector<tsql::DeviceClause>& devices,
                                   const tsql::TransferOptions& options) const {
    return TransferRequestOf(devices, options, session_, statement_.text);
  }

  BackupDefaults Defaults() const {
    constexpr int kLz4 = 4;  // of the option 'backup compression algorithm'
    constexpr int kChecksumByDefault = 3023;
    const ServerOptions& options = parts_.options;
    return {.compression = options.Value(OptionName::kBackupCompressionDefault) != 0,
            .checksum = options.Value(OptionName::kBackupChecksumDefault) != 0 ||
                        parts_.engine.parts().error_log.TraceFlag(kChecksumByDefault),
            .algorithm = options.Value(OptionName::kBackupCompressionAlgorithm) == kLz4
                             ? transform::Algorithm::kLz4
                             : transform::Algorithm::kZstd,
            .retention_days = static_cast<int>(options.Value(OptionName::kMediaRetention))};
  }

  bool Body(const tsql::BackupStatement& backup) {
    return backup.databases.empty() ? BackUp(backup) : BackUpSeveral(backup);
  }

  bool BackUp(const tsql::BackupStatement& backup) {
    const std::string_view command = tsql::CommandName(backup);
    engine::BackupRequest request = BackupRequestOf(
        backup, Transfer(backup.devices, backup.transfer), Defaults(), NowUnixSeconds());
    return Report(RunRecorded(backup.database, command,
                              [&](engine::JobObserver& observer) {
                                return parts_.engine.Backup(request, observer);
                              }),
                  command);
  }

  // One that fails does not keep the others from being backed up.
  bool BackUpSeveral(const tsql::BackupStatement& several) {
    const auto databases = parts_.engine.parts().catalog.ListDatabases();
    if (!databases.ok()) {
      return Report(databases.status());
    }
    std::vector<std::string> names;
    for (const catalog::Database& database : *databases) {
      names.push_back(database.name);
    }
    BackupTags tags{.server = parts_.engine.parts().settings.server_name,
                    .unix_s = NowUnixSeconds()};
    bool all_done = true;
    for (const auto& [name, by_pattern] : ChooseDatabases(several, names)) {
      if (sink_.gone()) {
        return false;
      }
      // A pattern means what can be backed up in this way.
      if (several.log && by_pattern && KeepsNoLog(name)) {
        OnMessage(0, fmt::format("'{}' is under SIMPLE and has no log to back up", name));
        continue;
      }
      all_done = BackUp(StatementFor(several, name, tags)) && all_done;
      tags.first = false;
    }
    return all_done;
  }

  bool KeepsNoLog(const std::string& name) {
    const auto database = parts_.engine.parts().catalog.FindDatabase(name);
    const auto description = Describe(name);
    return database.ok() && description.ok() &&
           EffectiveRecoveryModel(*database, *description) == writers::RecoveryModel::kSimple;
  }

  bool Body(const tsql::RestoreStatement& restore) {
    RestoreRun run(
        {.engine = parts_.engine,
         .drives = parts_.drives,
         .record = [&](std::string_view command,
                       const auto& carry) { return RunRecorded(restore.database, command, carry); },
         .message = [&](int number, const std::string& text) { OnMessage(number, text); },
         .result = [&](const catalog::Table& table) { sink_.OnResultSet(table); }},
        restore, session_, statement_.text);
    return Report(run.Run(), tsql::CommandName(restore));
  }

  bool Body(const tsql::AlterDatabaseStatement& alter) {
    const Status status =
        AlterDatabase(parts_.engine.parts().catalog, parts_.engine.parts().writers, alter);
    if (status.ok()) {
      parts_.engine.KeepLogs();
    }
    return Report(status);
  }

  bool Body(const tsql::DropDatabaseStatement& drop) {
    const auto given_up = parts_.engine.GiveUpInterrupted(drop.database);
    if (!given_up.ok() || *given_up) {
      return Report(given_up.status());  // that alone: what stands in its place stays
    }
    const auto database = parts_.engine.parts().catalog.FindDatabase(drop.database);
    if (!database.ok()) {
      return drop.if_exists && database.status().code() == Code::kNotFound
                 ? true
                 : Report(database.status());
    }
    if (database->roll_forward.state == catalog::RollForward::State::kOnline) {
      return Report(SqlError(65053, drop.database)
                        .WithHint("sp_detach_db forgets it and leaves its files as they are"));
    }
    return Report(parts_.engine.Detach(drop.database));
  }

  bool Body(const tsql::HelpStatement& help) {
    for (const std::string_view line : help.restore ? RestoreHelp() : BackupHelp()) {
      OnMessage(0, std::string(line));
    }
    return true;
  }

  bool Body(const tsql::ExpireStatement& expire) {
    const auto outcome = ExpireBackups(parts_.engine, expire, Transfer({}, {}), NowUnixSeconds());
    if (!outcome.ok()) {
      return Report(outcome.status());
    }
    sink_.OnResultSet(outcome->table);
    return Report(outcome->status);
  }

  bool Body(const tsql::DiscoverStatement& discover) {
    const auto table = DiscoverDatabases(
        parts_.engine.parts().catalog, parts_.engine.parts().writers, parts_.drives,
        discover.folders.empty() ? parts_.discovery_folders : discover.folders);
    if (table.ok()) {
      sink_.OnResultSet(*table);
    }
    return Report(table.status());
  }

  Status Verify(const tsql::RestoreQueryStatement& query, engine::JobObserver& observer) {
    const engine::VerifyRequest request =
        VerifyRequestOf(query, Transfer(query.devices, query.transfer));
    CAPSTAN_RETURN_IF_ERROR(parts_.engine.Verify(request, observer));
    if (!query.moves.empty()) {
      CAPSTAN_ASSIGN_OR_RETURN(const auto listing, parts_.engine.List(request.transfer));
      CAPSTAN_ASSIGN_OR_RETURN(
          const media::SetListing* set,
          FindListedSet(listing, query.file_number, request.transfer.targets.front()));
      CAPSTAN_RETURN_IF_ERROR(CheckRoom(parts_.drives, set->set, query.moves));
    }
    if (query.load_history) {
      return HistoryLoader(parts_.engine, parts_.drives, request.transfer)
          .LoadDevices(request.transfer);
    }
    return OkStatus();
  }

  static Status CheckMediaName(const std::string& wanted, const media::MediaHeader& header,
                               const std::string& target) {
    return wanted.empty() || wanted == header.name ? OkStatus()
                                                   : SqlError(4037, wanted, header.name, target);
  }

  // All devices or none: rows of some would look like the whole.
  Status SendMap(const engine::TransferRequest& transfer, const std::string& media_name) {
    catalog::Table table = EmptyMediaMapTable();
    for (const std::string& target : transfer.targets) {
      engine::TransferRequest one = transfer;
      one.targets = {target};
      CAPSTAN_ASSIGN_OR_RETURN(const media::MediumMap map, parts_.engine.Map(one));
      CAPSTAN_RETURN_IF_ERROR(CheckMediaName(media_name, map.listing.header, target));
      AddMediaMap(target, map, &table);
    }
    sink_.OnResultSet(table);
    return OkStatus();
  }

  bool Body(const tsql::RestoreQueryStatement& query) {
    const std::string_view name = tsql::CommandName(query.query);
    if (query.query == tsql::RestoreQuery::kVerifyOnly) {
      return Report(
          RunRecorded("", name,
                      [&](engine::JobObserver& observer) { return Verify(query, observer); }),
          name);
    }
    engine::TransferRequest transfer = Transfer(query.devices, query.transfer);
    transfer.media_password = query.media_password;
    if (query.query == tsql::RestoreQuery::kMediaMap) {
      return Report(SendMap(transfer, query.media_name), name);
    }
    const auto listing = parts_.engine.List(transfer);
    if (!listing.ok()) {
      return Report(listing.status(), name);
    }
    if (const Status status =
            CheckMediaName(query.media_name, listing->header, transfer.targets.front());
        !status.ok()) {
      return Report(status, name);
    }
    switch (query.query) {
      case tsql::RestoreQuery::kLabelOnly:
        sink_.OnResultSet(LabelOnlyTable(listing->header));
        return true;
      case tsql::RestoreQuery::kHeaderOnly:
        sink_.OnResultSet(
            HeaderOnlyTable(*listing, {.device_type = DeviceTypeNumber(transfer.device_class)}));
        return true;
      default:
        break;
    }
    const auto set = FindListedSet(*listing, query.file_number, transfer.targets.front());
    if (!set.ok()) {
      return Report(set.status(), name);
    }
    if ((*set)->foreign && (*set)->foreign_set->password_protected) {
      return Report(SqlError(3279), name);
    }
    sink_.OnResultSet(FileListTable(**set));
    return true;
  }

  bool Body(const tsql::AttachStatement& attach) {
    Status status = AttachDatabase(parts_.engine.parts().catalog, parts_.engine.parts().writers,
                                   parts_.drives, attach);
    if (status.ok()) {
      parts_.engine.KeepLogs();
    }
    return Report(status);
  }

  bool Body(const tsql::DetachStatement& detach) {
    return Report(parts_.engine.Detach(detach.database));
  }

  bool Body(const tsql::KillStatement& kill) {
    if (kill.session_id == session_.session_id) {
      return Report(SqlError(6104));
    }
    return parts_.engine.parts().jobs.Cancel(static_cast<int>(kill.session_id)) ||
           Report(SqlError(6106, kill.session_id));
  }

  bool Body(const tsql::SelectStatement& select) {
    std::vector<catalog::LiveTable> live;
    for (const std::string& name : select.live_tables) {
      auto table = parts_.live_tables.Snapshot(name);
      if (!table.ok()) {
        return Report(table.status());
      }
      live.push_back(std::move(table).value());
    }
    const auto rows = parts_.engine.parts().catalog.Query(select.sqlite_text, live);
    if (!rows.ok()) {
      return Report(rows.status());
    }
    sink_.OnResultSet(*rows);
    return true;
  }

  bool Body(const tsql::TraceStatement& trace) {
    for (const int flag : trace.flags) {  // -1, "for all sessions", is how flags are anyway
      parts_.engine.parts().error_log.SetTraceFlag(flag, trace.on);
    }
    return true;
  }

  bool Body(const tsql::LoginStatement& login) {
    switch (login.action) {
      case tsql::LoginAction::kCreate:
        return Report(parts_.logins.Add(login.name, login.password));
      case tsql::LoginAction::kAlter:
        return Report(parts_.logins.ChangePassword(login.name, login.password));
      case tsql::LoginAction::kDrop:
        return Report(parts_.logins.Remove(login.name));
    }
    return false;
  }

  bool Body(const tsql::CredentialStatement& credential) {
    switch (credential.action) {
      case tsql::CredentialAction::kCreate:
        return Report(
            parts_.credentials.Add(credential.name, credential.identity, credential.secret));
      case tsql::CredentialAction::kAlter:
        return Report(
            parts_.credentials.Change(credential.name, credential.identity, credential.secret));
      case tsql::CredentialAction::kDrop:
        return Report(parts_.credentials.Remove(credential.name));
    }
    return false;
  }

  bool Body(const tsql::ConfigureStatement& configure) {
    if (!configure.value.has_value()) {
      const auto table = parts_.options.Shown(configure.option);
      if (table.ok()) {
        sink_.OnResultSet(*table);
      }
      return Report(table.status());
    }
    const auto change = parts_.options.Configure(configure.option, *configure.value);
    if (change.ok()) {
      OnMessage(15457, MessageText(15457, change->name, change->before, change->after));
    }
    return Report(change.status());
  }

  bool Body(const tsql::ReconfigureStatement& /*reconfigure*/) {
    parts_.options.Reconfigure();
    return true;
  }

  bool Body(const tsql::CertificateStatement& certificate) {
    return Report(RunCertificateStatement(parts_.certificates, parts_.drives, certificate));
  }

  bool Body(const tsql::SpaceUsedStatement& used) {
    const auto description = Describe(used.database);
    if (description.ok()) {
      const auto [sizes, use] = SpaceUsedTables(used.database, *description);
      sink_.OnResultSet(sizes);
      sink_.OnResultSet(use);
    }
    return Report(description.status());
  }

  Result<writers::DatabaseDescription> Describe(const std::string& name) {
    CAPSTAN_ASSIGN_OR_RETURN(const catalog::Database database,
                             parts_.engine.parts().catalog.FindDatabase(name));
    const auto& writers = parts_.engine.parts().writers;
    const auto writer = writers.find(database.scheme);
    if (writer == writers.end()) {
      return SqlError(65005, name, "no writer knows this kind of database");
    }
    return writer->second->Describe(database.location, name);
  }

  bool Body(const tsql::CreateFolderStatement& folder) {
    return Report(CreateFolder(parts_.drives, folder.path));
  }

  bool Body(const tsql::LoadHistoryStatement& load) {
    engine::TransferRequest session;
    session.session_id = session_.session_id;
    session.user_name = session_.login;
    session.statement = statement_.text;
    const auto table = HistoryLoader(parts_.engine, parts_.drives, std::move(session))
                           .LoadPaths(load.paths, [this] { return sink_.gone(); });
    if (table.ok()) {
      sink_.OnResultSet(*table);
    }
    return Report(table.status());
  }

  bool Body(const tsql::DeviceBenchStatement& bench) {
    auto request = BenchRequestOf(bench, session_, statement_.text, parts_.drives);
    if (!request.ok()) {
      return Report(request.status());
    }
    std::vector<engine::DeviceBenchStep> steps;
    const Status status = RunRecorded("", "DEVICE BENCH", [&](engine::JobObserver& observer) {
      auto measured = engine::RunDeviceBench(parts_.engine.parts(), *request, observer);
      if (measured.ok()) {
        steps = std::move(measured).value();
      }
      return measured.status();
    });
    if (status.ok()) {
      sink_.OnResultSet(DeviceBenchTable(*request, steps));
    }
    return Report(status, "DEVICE BENCH");
  }

  bool Body(const tsql::PrintStatement& print) {
    OnMessage(0, print.text);
    return true;
  }

  const Parts& parts_;
  const Session& session_;
  const tsql::Statement& statement_;
  ResponseSink& sink_;
};

bool StatementExecutor::ExecuteBatch(std::string_view batch, const Session& session,
                                     ResponseSink& sink) {
  const auto parsed = tsql::ParseBatch(batch);
  if (const auto* error = std::get_if<tsql::ParseError>(&parsed)) {
    SendError(sink, error->status, error->line, error->terminated);
    return false;
  }
  for (const tsql::Statement& statement : std::get<0>(parsed)) {
    if (sink.gone() || !Run(parts_, session, statement, sink).Execute()) {
      return false;
    }
  }
  return true;
}

}  // namespace capstan::coordinator
