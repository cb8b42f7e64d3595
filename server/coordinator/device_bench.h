// sp_device_bench: from the statement to the engine's request, and from its figures to a table.
//
// Threads: functions without state.
#pragma once

#include <string>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/drive_map.h"
#include "server/coordinator/statement_requests.h"
#include "server/engine/device_bench.h"
#include "server/tsql/statement.h"

namespace capstan::coordinator {

// The medium gets a name that nothing else has, beneath the target. 3217 if the target is no folder
// and no URL.
Result<engine::DeviceBenchRequest> BenchRequestOf(const tsql::DeviceBenchStatement& statement,
                                                  const Session& session, const std::string& text,
                                                  const DriveMap& drives);

// One row a step.
catalog::Table DeviceBenchTable(const engine::DeviceBenchRequest& request,
                                const std::vector<engine::DeviceBenchStep>& steps);

}  // namespace capstan::coordinator
