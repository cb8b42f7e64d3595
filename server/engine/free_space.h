// The look at free space before a backup writes (S0-55). It warns and decides nothing: the estimate
// may be far too high (compression), and space may become free meanwhile.
//
// Threads: any.
#pragma once

#include "server/engine/device_provider.h"
#include "server/engine/job.h"

namespace capstan::engine {

// 65011 for each target of `request` (size_estimate bytes each) that is not expected to fit.
// Targets in one folder share what is free there. A target that cannot be looked up is left to its
// opening, which says why. Takes about a second at most.
void WarnOfLowSpace(DeviceProvider& devices, const DeviceSetRequest& request,
                    JobObserver& observer);

}  // namespace capstan::engine
