// device bench: a target without a database.
#include <array>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/row_reader.h"

namespace capstan::cli {
namespace {

constexpr std::array kColumns = std::to_array<ColumnView>({
    {"step", "step"},
    {"bytes", "bytes", Unit::kBytes},
    {"seconds", "seconds"},
    {"bytes_per_second", "rate", Unit::kBytesPerSecond},
    {"average_latency_ms", "avg ms"},
    {"max_latency_ms", "max ms"},
    {"waits_for_device", "stalled", Unit::kPercent},
    {"device_idle", "idle", Unit::kPercent},
});

}  // namespace

ExitStatus RunDeviceBench(Session& session, const DeviceBenchOptions& options) {
  const QueryResult result = Query(session, DeviceBenchStatement(options.bench));
  if (result.status != ExitStatus::kDone) {
    return result.status;
  }
  const ResultSet& rows = result.result_sets.front();
  PrintResultSet(session.console,
                 options.format == OutputFormat::kJson ? rows : Laid(rows, kColumns),
                 options.format);
  return ExitStatus::kDone;
}

}  // namespace capstan::cli
