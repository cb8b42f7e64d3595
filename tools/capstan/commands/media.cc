// media: what is on media, as a drawing.
#include <chrono>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/json_printer.h"
#include "tools/capstan/media_view.h"

namespace capstan::cli {

ExitStatus RunMediaShow(Session& session, const MediaShowOptions& options) {
  ExitStatus status = ExitStatus::kDone;
  ResultSet all;  // for JSON: one array, whatever the number of media
  for (const Target& medium : options.media) {
    const QueryResult result = Query(session, MediaMapStatement(medium));
    if (result.status == ExitStatus::kUnreachable ||
        session.interrupt.WaitFor(std::chrono::milliseconds(0))) {
      return result.status;
    }
    if (result.status != ExitStatus::kDone) {
      status = result.status;
      continue;
    }
    const ResultSet& map = result.result_sets.front();
    if (!IsSound(map)) {
      status = ExitStatus::kFailed;
    }
    if (options.format == OutputFormat::kJson) {
      all.columns = map.columns;
      all.rows.insert(all.rows.end(), map.rows.begin(), map.rows.end());
    } else {
      session.console.Out(DrawMedium(map, options.blocks));
    }
  }
  if (options.format == OutputFormat::kJson) {
    session.console.Out(FormatJson(all));
  }
  return status;
}

}  // namespace capstan::cli
