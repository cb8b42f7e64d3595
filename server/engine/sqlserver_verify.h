// RESTORE VERIFYONLY of media that SQL Server wrote (media/sqlserver/verifier.h): opens the
// devices, reads every family from one end to the other, and looks whether they make up the set.
//
// Threads: the job's thread calls; one worker per family.
#pragma once

#include "server/engine/engine.h"

namespace capstan::engine {

// Whether `status`, of an attempt to read media as ours, says that they may be SQL Server's.
bool MayBeSqlServers(const Status& status);

// As Engine::Verify; 3143 if the set is neither program's, 65022 with SAMPLE. The first damage ends
// it, CONTINUE_AFTER_ERROR or not.
Status VerifySqlServerMedia(const Engine::Parts& parts, const VerifyRequest& request, Job& job,
                            JobObserver& observer);

}  // namespace capstan::engine
