// What the media of a statement hold, before anything is written to them: each is opened for
// reading, with two small buffers, and listed.
//
// Threads: the job's; listing runs on a worker of its own under the job's monitor.
#pragma once

#include <functional>

#include "server/engine/engine.h"
#include "server/engine/open_set.h"
#include "server/media/media_map.h"
#include "server/media/media_plan.h"

namespace capstan::engine {

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

// Whether the media of `set`, which was opened to append to them, are still as they were inspected:
// `expected` has one append point per device. 3201 if not.
Status CheckUnchanged(OpenSet& set, const std::vector<media::AppendPoint>& expected,
                      const Engine::Parts& parts, Job& job);

// Copies what stands in front of the append points, `expected` as above, from the media `targets`
// to those of `set`, which take their place. 3201 if they are not as they were inspected.
Status CopySets(OpenSet& set, const TransferRequest& targets,
                const std::vector<media::AppendPoint>& expected, const Engine::Parts& parts,
                Job& job);

// The SSET of the set at `position`, if the medium in `channel` can be looked through for it; 0
// otherwise.
Result<std::uint64_t> FindSet(OpenSet& set, DeviceChannel& channel, std::uint16_t position);

}  // namespace capstan::engine
