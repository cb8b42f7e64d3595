// A restore that was interrupted and left what it had built: finding it, looking at what is there,
// giving it up. There is at most one per database: whatever else restores the database, or drops
// it, gives it up.
//
// Threads: that of a job that has the database, or none; CheckRestored uses some of its own.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "server/engine/engine.h"
#include "server/engine/restart/restored_frames.h"
#include "server/media/family_reader.h"

namespace capstan::engine {

Result<std::optional<catalog::JobRecord>> FindInterrupted(catalog::Catalog& catalog,
                                                          const std::string& database);
// Removes what it left. False: there was none.
Result<bool> DiscardInterrupted(const Engine::Parts& parts, const std::string& database);

// For the operator: how far it was, how it goes on, how it is given up.
std::string HowToGoOn(const std::string& database, const catalog::JobProgress& progress);

// What CheckRestored finds.
struct RestoredCheck {
  // Gets each frame that is right, as it is in the database. Several threads.
  std::function<Status(const media::FrameView&)> take;
  std::function<bool()> cancelled;
};
// Reads back every frame and marks those as right that are in the file as they were written; they
// count as written by `session`. 3204 if cancelled, 65006 if the file cannot be read.
Status CheckRestored(writers::RestoreSession& session, RestoredFrames& frames,
                     const RestoredCheck& check);

}  // namespace capstan::engine
