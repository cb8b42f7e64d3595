// The families of metrics.h, before they become text.
//
// Threads: functions without state.
#pragma once

#include <vector>

#include <prometheus/metric_family.h>

#include "server/coordinator/metrics.h"

namespace capstan::coordinator {

std::vector<prometheus::MetricFamily> CollectFamilies(const MetricsSources& sources);

}  // namespace capstan::coordinator
