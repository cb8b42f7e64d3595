// RESTORE DATABASE ... WITH RECOVERY or STANDBY without media: brings a database that is being
// restored into use as it is.
//
// Threads: the statement's.
#pragma once

#include "server/engine/engine.h"
#include "server/engine/job.h"
#include "vdi/base/status.h"

namespace capstan::engine {

// 911, 3153, 4319. If the stop point lies behind what has been restored (4329), it stays as it is.
Status RunRecover(const Engine::Parts& parts, const RecoverRequest& request, Job& job,
                  JobObserver& observer);

}  // namespace capstan::engine
