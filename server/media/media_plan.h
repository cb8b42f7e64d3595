// What a backup does to the media that it is given: created, overwritten or appended to, with which
// headers, and in which order. Or why not, in SQL Server's words.
//
// Pure: what the statement asks for and what every medium holds go in, a plan or an error comes
// out, and nothing has been touched. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/media/backup_set.h"
#include "server/media/family_reader.h"
#include "vdi/base/status.h"

namespace capstan::media {

// What becomes of the media that a backup is written to.
enum class MediaUse {
  kAppend,     // NOINIT: behind the sets that are there; a new medium where there is none
  kOverwrite,  // INIT: the sets go, the media header stays
  kFormat,     // FORMAT: a new media header
};

// One device of the statement and what its medium holds.
struct MediumState {
  std::string target;
  bool exists = false;
  Status failure;  // why it cannot be understood: it is no MTF (3242), damaged (3241), ...
  // Its header and sets. Nothing if there is no medium or it is empty; with FORMAT nobody looks.
  std::optional<MediumListing> listing;
};

// What the statement says.
struct MediaWishes {
  MediaUse use = MediaUse::kAppend;
  bool skip = false;  // SKIP: neither expiry nor MEDIANAME is looked at
  // COMPRESSION or NO_COMPRESSION; nothing: as the media set has it, and the default for a new one.
  std::optional<bool> compression;
  bool compression_default = false;
  bool encryption = false;
  std::string media_name, media_description;
  std::int64_t now_unix_s = 0;
};

// The devices: the first row is the families, each further one a mirror of them (MIRROR TO). A row
// names the families in any order if they exist.
using MediaRows = std::vector<std::vector<MediumState>>;

enum class MediumAction { kCreate, kReplace, kAppend };

struct MediaPlan {
  struct Medium {
    std::size_t row = 0;     // where in MediaRows
    std::size_t column = 0;  // likewise
    std::optional<AppendPoint> append;
  };
  struct Family {
    MediaHeader header;
    std::vector<Medium> mirrors;  // at least one, in the order of the rows; all alike
  };
  MediumAction action = MediumAction::kCreate;  // of all media
  // The media to append to end in a set that was not written to its end, and no device takes back
  // what it has committed: the new media begin with what stands in front of the append points.
  bool copies_sets = false;
  std::uint16_t position = 1;  // of the set
  bool compressed = false;
  std::vector<Family> families;  // in the order of their numbers
};

inline constexpr std::size_t kMirrorsMax = 3;  // beside the first row

// What identifies the media set. Media of other programs have a family id alone, which LABELONLY
// shows as a GUID's first group.
Guid MediaSetIdOf(const MediaHeader& header);

// Errors before any medium is looked at: 3214, 3212 and 3205, for too many mirrors, rows of unequal
// length and too many devices.
Status CheckMediaRows(const std::vector<std::vector<std::string>>& rows);

// REQUIRES: CheckMediaRows of the targets was OK. Errors: a medium's own failure; 3132, 3231 the
// wrong number of families; 3227 one twice, 3258 one of another media set, 3247 not its first
// medium, 3232 families that hold different sets; 3215, 3240, 3210 mirrors that do not fit; 3098
// and 3095 compression and encryption that the media set does not have; 4037 its name, 4030 its
// expiry; 3266 and 3246 media that cannot be appended to, 65009 SQL Server's own.
Result<MediaPlan> PlanMedia(const MediaWishes& wishes, const MediaRows& rows);

}  // namespace capstan::media
