// Going on with one family of an interrupted backup: which of its frames the database still holds.
//
// A frame is read back from the medium, proved and decoded as for a restore, and compared with the
// database by the writer's session. What is the same keeps its place and counts as if this backup
// had read it; anything else becomes void, and will be read anew. What follows the first frame that
// is not whole counts as not written.
#pragma once

#include <cstdint>
#include <functional>

#include "server/engine/first_error.h"
#include "server/engine/open_set.h"
#include "server/engine/set_coding.h"
#include "server/media/family_writer.h"
#include "server/writers/database_writer.h"

namespace capstan::engine {

struct FamilyToTakeUp {
  OpenSet& set;
  DeviceChannel& channel;  // opened to go on
  std::uint32_t buffers;   // of the set's pool, at least 1
  const SetCoding& coding;
  writers::BackupSession& session;
  media::FamilyWriter& writer;  // adopts the frames
  const FirstError& error;      // ends it early
  // Told of every frame that stays. The thread that takes the family up.
  std::function<void(const media::FrameExtent&)> on_kept;
};

// Errors of the device, and of the session.
Status TakeUpFamily(const FamilyToTakeUp& family);

}  // namespace capstan::engine
