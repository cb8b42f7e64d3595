#include "server/coordinator/device_bench.h"

#include <optional>

#include <fmt/format.h>
#include <sys/stat.h>

#include "server/messages/messages.h"
#include "vdi/base/guid.h"

namespace capstan::coordinator {
namespace {

using Cell = std::optional<std::string>;

bool IsFolder(const std::string& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

Result<std::string> Beneath(const tsql::DeviceBenchStatement& statement, const DriveMap& drives) {
  std::string place = statement.target;
  if (statement.device_class == tsql::DeviceClass::kDisk) {
    auto mapped = drives.Map(place);
    if (!mapped.ok()) {
      return SqlError(3217, "@target").WithHint(std::string(mapped.status().hint()));
    }
    place = std::move(mapped).value();
    if (!IsFolder(place)) {
      return SqlError(3217, "@target")
          .WithHint(fmt::format("'{}' is no folder: name one that exists, and a medium is made and "
                                "removed beneath it",
                                place));
    }
  } else if (place.find("://") == std::string::npos) {
    return SqlError(3217, "@target")
        .WithHint(fmt::format("'{}' is no URL, such as s3://bucket/folder", place));
  }
  while (place.size() > 1 && place.back() == '/') {
    place.pop_back();
  }
  return place;
}

Cell Number(double value) {
  return fmt::format("{:.3f}", value);
}

}  // namespace

Result<engine::DeviceBenchRequest> BenchRequestOf(const tsql::DeviceBenchStatement& statement,
                                                  const Session& session, const std::string& text,
                                                  const DriveMap& drives) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::string place, Beneath(statement, drives));
  return engine::DeviceBenchRequest{
      .device_class = std::string(tsql::DeviceClassName(statement.device_class)),
      .medium = fmt::format("{}/capstan-bench-{}", place, Guid::Random().ToString()),
      .size = statement.size_mb << 20,
      .transfer_size = statement.transfer_size,
      .read = statement.read,
      .session_id = session.session_id,
      .statement = text};
}

catalog::Table DeviceBenchTable(const engine::DeviceBenchRequest& request,
                                const std::vector<engine::DeviceBenchStep>& steps) {
  catalog::Table table;
  table.columns = {
      {"step", "nvarchar(30)"},        {"bytes", "bigint"},         {"seconds", "float"},
      {"bytes_per_second", "bigint"},  {"requests", "bigint"},      {"transfer_size", "int"},
      {"average_latency_ms", "float"}, {"max_latency_ms", "float"}, {"waits_for_device", "float"},
      {"device_idle", "float"}};
  for (const engine::DeviceBenchStep& step : steps) {
    std::vector<Cell> row{step.name};
    if (step.bytes == 0) {
      row.push_back(Cell());
      row.push_back(Number(step.seconds));
      row.resize(table.columns.size());
    } else {
      const double rate = step.seconds > 0 ? static_cast<double>(step.bytes) / step.seconds : 0;
      row.insert(row.end(),
                 {fmt::format("{}", step.bytes), Number(step.seconds), fmt::format("{:.0f}", rate),
                  fmt::format("{}", step.requests), fmt::format("{}", request.transfer_size),
                  Number(step.latency_ms), Number(step.latency_max_ms),
                  Number(step.waits_for_device * 100), Number(step.device_idle * 100)});
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace capstan::coordinator
