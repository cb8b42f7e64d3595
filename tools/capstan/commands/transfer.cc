// backup, restore, verify, cancel: what moves data, and what stops it.
#include <fmt/format.h>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/row_reader.h"

namespace capstan::cli {
namespace {

constexpr StatementOptions kWithProgress = {.format = OutputFormat::kTable, .with_progress = true};

// The logical name of the only file in the backup; several files cannot go to one path.
Result<std::string> SingleLogicalName(const ResultSet& file_list) {
  std::vector<std::string> names;
  for (const Row& row : file_list.rows) {
    names.push_back(RowReader(file_list, row).Text("LogicalName"));
  }
  if (names.size() == 1 && !names.front().empty()) {
    return names.front();
  }
  return Error(Code::kInvalidArgument, "--to needs a backup of one file; this one has {}: {}",
               names.size(), fmt::join(names, ", "))
      .WithHint("say where each file goes with --move LOGICAL=PATH");
}

}  // namespace

ExitStatus RunBackup(Session& session, const BackupOptions& options) {
  return RunStatement(session, BackupStatement(options), kWithProgress);
}

ExitStatus RunRestore(Session& session, RestoreOptions options,
                      const std::optional<std::string>& single_file_path) {
  if (single_file_path.has_value()) {
    const QueryResult files = Query(session, FileListStatement(options));
    if (files.status != ExitStatus::kDone) {
      return files.status;
    }
    const Result<std::string> logical_name = SingleLogicalName(files.result_sets.front());
    if (!logical_name.ok()) {
      return ReportFailure(session.console, logical_name.status());
    }
    options.moves.emplace_back(*logical_name, *single_file_path);
  }
  return RunStatement(session, RestoreStatement(options), kWithProgress);
}

ExitStatus RunVerify(Session& session, const RestoreOptions& options) {
  return RunStatement(session, VerifyStatement(options), kWithProgress);
}

ExitStatus RunCancel(Session& session, std::int64_t session_id) {
  return RunStatement(session, KillStatement(session_id), {});
}

}  // namespace capstan::cli
