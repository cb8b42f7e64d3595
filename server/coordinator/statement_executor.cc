#include "server/coordinator/statement_executor.h"

#include <algorithm>
#include <utility>

#include "server/coordinator/listings.h"
#include "server/messages/messages.h"
#include "server/tsql/parser.h"

namespace capstan::coordinator {
namespace {

constexpr int kUserError = 50000;  // SQL Server's number for errors without one of their own

engine::TransferRequest TransferOf(const std::vector<tsql::DeviceClause>& devices,
                                   const tsql::TransferOptions& options, const Session& session,
                                   const std::string& text) {
  engine::TransferRequest request;
  request.device_class = tsql::DeviceClassName(devices.front().device_class);
  for (const tsql::DeviceClause& device : devices) {
    request.targets.push_back(device.name);
  }
  request.buffer_count = options.buffer_count;
  request.max_transfer_size = options.max_transfer_size;
  request.block_size = options.block_size;
  request.stats_percent = options.stats_percent;
  request.checksum = options.checksum;
  request.session_id = session.session_id;
  request.user_name = session.login;
  request.statement = text;
  return request;
}

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
    SendError(sink_, status, statement_.line, terminated);
    return false;
  }

  bool Body(const tsql::BackupStatement& backup) {
    engine::BackupRequest request;
    request.transfer = TransferOf(backup.devices, backup.transfer, session_, statement_.text);
    request.database = backup.database;
    request.media_use = backup.format ? engine::MediaUse::kFormat
                        : backup.init ? engine::MediaUse::kOverwrite
                                      : engine::MediaUse::kAppend;
    request.copy_only = backup.copy_only;
    request.snapshot = backup.snapshot;
    request.name = backup.name;
    request.description = backup.description;
    request.media_name = backup.media_name;
    request.media_description = backup.media_description;
    return Report(parts_.engine.Backup(request, *this), "BACKUP DATABASE");
  }

  bool Body(const tsql::RestoreStatement& restore) {
    engine::RestoreRequest request;
    request.transfer = TransferOf(restore.devices, restore.transfer, session_, statement_.text);
    request.database = restore.database;
    request.replace = restore.replace;
    request.snapshot = restore.snapshot;
    request.file_number = restore.file_number;
    request.moves = restore.moves;
    return Report(parts_.engine.Restore(request, *this), "RESTORE DATABASE");
  }

  bool Body(const tsql::RestoreQueryStatement& query) {
    const auto transfer = TransferOf(query.devices, query.transfer, session_, statement_.text);
    const std::string_view name = tsql::CommandName(query.query);
    if (query.query == tsql::RestoreQuery::kVerifyOnly) {
      return Report(parts_.engine.Verify({transfer, query.file_number}, *this), name);
    }
    const auto listing = parts_.engine.List(transfer);
    if (!listing.ok()) {
      return Report(listing.status(), name);
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
    if (query.file_number == 0 || query.file_number > listing->sets.size()) {
      return Report(SqlError(3287, query.file_number, transfer.targets.front()), name);
    }
    const media::SetListing& set = listing->sets[query.file_number - 1U];
    if (set.foreign && !set.foreign_set->by_sql_server) {
      return Report(SqlError(3143, transfer.targets.front()), name);
    }
    if (set.foreign && set.foreign_set->password_protected) {
      return Report(SqlError(3279), name);
    }
    sink_.OnResultSet(FileListTable(set));
    return true;
  }

  bool Body(const tsql::AttachStatement& attach) {
    const std::size_t colon = attach.location.find(':');
    const std::string scheme = attach.location.substr(0, colon);
    const auto& writers = parts_.engine.parts().writers;
    const auto writer = writers.find(scheme);
    if (colon == std::string::npos || writer == writers.end()) {
      return Report(SqlError(65002, attach.location, "no writer knows this kind of database")
                        .WithHint("write it as sqlite:/path/to/file"));
    }
    const std::string location = attach.location.substr(colon + 1);
    if (location.empty() || location.front() != '/') {
      return Report(SqlError(65002, attach.location, "the path is not absolute"));
    }
    const auto description = writer->second->Describe(location, attach.database);
    if (!description.ok()) {
      return Report(description.status());
    }
    catalog::Database database{.name = attach.database, .scheme = scheme, .location = location};
    database.created_unix_s = description->created_unix_s;
    return Report(parts_.engine.parts().catalog.AddDatabase(std::move(database)));
  }

  bool Body(const tsql::DetachStatement& detach) {
    return Report(parts_.engine.parts().catalog.RemoveDatabase(detach.database));
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
