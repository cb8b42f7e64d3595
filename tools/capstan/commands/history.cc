#include "tools/capstan/commands/history.h"

#include <algorithm>

#include "tools/capstan/row_reader.h"

namespace capstan::cli {

HistoryResult QueryHistory(Session& session, const std::string& database, int limit) {
  QueryResult sets = Query(session, HistoryStatement(database, limit));
  if (sets.status != ExitStatus::kDone) {
    return {sets.status, {}};
  }
  std::vector<std::string> media_set_ids;
  for (const Row& row : sets.result_sets.front().rows) {
    const RowReader reader(sets.result_sets.front(), row);
    std::string id = reader.Text("media_set_id");
    const bool known =
        std::find(media_set_ids.begin(), media_set_ids.end(), id) != media_set_ids.end();
    if (!known && reader.Unsigned("media_set_id").has_value()) {
      media_set_ids.push_back(std::move(id));
    }
  }
  if (media_set_ids.empty()) {
    return {ExitStatus::kDone, BuildHistory(sets.result_sets.front(), {})};
  }
  const QueryResult devices = Query(session, HistoryDevicesStatement(media_set_ids));
  if (devices.status != ExitStatus::kDone) {
    return {devices.status, {}};
  }
  return {ExitStatus::kDone, BuildHistory(sets.result_sets.front(), devices.result_sets.front())};
}

ExitStatus RunHistory(Session& session, const HistoryOptions& options) {
  const HistoryResult history = QueryHistory(session, options.database, options.limit);
  if (history.status != ExitStatus::kDone) {
    return history.status;
  }
  if (options.format == OutputFormat::kJson) {
    session.console.Out(HistoryJson(history.entries));
  } else {
    PrintResultSet(session.console, HistoryTable(history.entries), OutputFormat::kTable);
  }
  return ExitStatus::kDone;
}

}  // namespace capstan::cli
