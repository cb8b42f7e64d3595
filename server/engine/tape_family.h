// TapeFamily: finds its way among the media of one family, of which a drive holds one at a time:
// where a set begins, where the next one goes. What it needs is asked for with Load, by the
// sequence number; a medium of another family, or of another number, is refused.
//
// For devices with hard filemarks that a plugin serves. A listing skips from filemark to filemark.
// Threads: one at a time; nothing else in flight on the device.
#pragma once

#include <cstdint>
#include <optional>

#include "server/engine/first_error.h"
#include "server/engine/media_control.h"
#include "server/engine/open_set.h"
#include "server/media/family_reader.h"
#include "server/media/media_plan.h"

namespace capstan::engine {

class TapeFamily {
 public:
  // All must outlive it. `error` is where the job's failure shows.
  TapeFamily(OpenSet& set, DeviceChannel& channel, const FirstError& error)
      : set_(set), channel_(channel), media_(set, channel, Direction::kRead, error) {}

  // What the family's first medium holds. 3254 if that is blank.
  Result<media::MediumListing> ListFirst();
  // What the medium holds that the next set goes on, behind the last one that is whole: it is the
  // last of the family, or an earlier one where a set begins that was not written to its end. It
  // stays mounted.
  Result<media::MediumListing> ListLast();

  // Mounts the medium where the set at `position` begins. Its place there, or nothing if it is the
  // first of all, or if the media cannot be understood: reading says what is wrong. 3287 if there
  // is no such set.
  Result<std::optional<media::TapePlace>> FindSet(std::uint16_t position);

  // Whether the medium of `header` is still mounted, and a set may still go where `append` says.
  // 3201 if not, or what is wrong with the medium.
  Status CheckUnchanged(const media::MediaHeader& header, const media::AppendPoint& append);

 private:
  Result<media::MediaHeader> ReadLabel();
  Result<media::MediumListing> List();
  // Loads another medium of the family of `known` and says what it holds.
  Result<media::MediumListing> ListOther(const media::MediaHeader& known,
                                         std::uint16_t sequence_number);
  // The medium where the set begins that goes on from this one and has no end: that set is taken
  // off its listing.
  Result<media::MediumListing> ListBeginning(const media::MediaHeader& known,
                                             std::uint16_t sequence_number);
  Status CheckLabel(const media::MediaHeader& label, const media::MediaHeader& known,
                    std::uint16_t sequence_number) const;

  OpenSet& set_;
  DeviceChannel& channel_;
  MediaControl media_;
};

}  // namespace capstan::engine
