// What the media of a statement hold, before anything is written to them: each is opened for
// reading, with two small buffers, and listed.
//
// Threads: the job's; listing runs on a worker of its own under the job's monitor.
#pragma once

#include <functional>

#include "server/engine/engine.h"
#include "server/engine/first_error.h"
#include "server/engine/open_set.h"
#include "server/media/media_map.h"
#include "server/media/media_plan.h"

namespace capstan::engine {

// Has a worker do `work` on the set's devices, which ends when they stall or the job is cancelled:
// the error says so.
Status RunWatched(Job& job, OpenSet& set, std::chrono::milliseconds device_timeout,
                  std::function<Status(const FirstError& error)> work);

// What the first device's medium says.
Result<media::MediumListing> ListMedium(const Engine::Parts& parts, const TransferRequest& transfer,
                                        Job& job);
// What its bytes belong to.
Result<media::MediumMap> MapMedium(const Engine::Parts& parts, const TransferRequest& transfer,
                                   Job& job);

// The devices of a BACKUP, families and mirrors, with what their media hold. A medium that cannot
// be understood is a state, too; an error is what keeps from knowing. Not for virtual devices of
// vendors, which cannot be asked.
Result<media::MediaRows> InspectMedia(const Engine::Parts& parts, const BackupRequest& request,
                                      Job& job);

// What is on a medium to append to.
struct ExpectedMedium {
  media::MediaHeader header;
  media::AppendPoint append;
};

// Whether the media of `set`, which was opened to append to them, are still as they were inspected:
// `expected` has one entry per device. 3201 if not.
Status CheckUnchanged(OpenSet& set, const std::vector<ExpectedMedium>& expected,
                      const Engine::Parts& parts, Job& job);

// Copies what stands in front of the append points, `expected` as above, from the media `targets`
// to those of `set`, which take their place. 3201 if they are not as they were inspected.
Status CopySets(OpenSet& set, const TransferRequest& targets,
                const std::vector<ExpectedMedium>& expected, const Engine::Parts& parts, Job& job);

// A medium that was read and is not one that we can go on with.
bool IsAboutContents(const Status& status);

// Where reading begins, so that the sets before the wanted one are not read.
struct SetPlace {
  std::uint64_t offset = 0;               // of its SSET; 0: not known, or random access is missing
  std::optional<media::TapePlace> place;  // the same on a tape
};
// Of the set at `position`, if the medium in `channel` can be looked through for it. Has the medium
// of a tape changed for the one where the set begins.
Result<SetPlace> FindSet(OpenSet& set, DeviceChannel& channel, std::uint16_t position,
                         const FirstError& error);

// Media of which nobody asks what they hold.
media::MediaRows NewMedia(const BackupRequest& request);

// The largest block in which a set can be written. One that is appended begins and ends where the
// blocks of the medium do, and those of other programs may be small.
std::uint32_t BlockSizeMax(const media::MediaPlan& plan);

}  // namespace capstan::engine
