// DamageReport: what a job that goes on in spite of damage found, and what that costs: which bytes
// and pages of which file no good frame held.
//
// What is lost is what the files of the set have and no good frame covered, so that it does not
// depend on how the loss came about. Threads: the notes from any; the rest once all have been made.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/media/family_reader.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::engine {

// A stretch of a file that is on no medium any more, or on none that can be read.
struct LostRange {
  std::string target;  // of the device, or of several, as far as that is known
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class DamageReport {
 public:
  // `frame` was good and has been used.
  void NoteGood(const media::FrameExtent& frame) CAPSTAN_EXCLUDES(mutex_);
  // `frame` of the device `target` was not, as `why` says.
  void NoteLost(const std::string& target, const media::FrameExtent& frame, const Status& why)
      CAPSTAN_EXCLUDES(mutex_);
  // A stretch of the medium in `target` could not be used.
  void NoteDamage(const std::string& target, const media::MediumDamage& damage)
      CAPSTAN_EXCLUDES(mutex_);
  // What `trailer` of `target` says is missing.
  void NoteEnd(const std::string& target, const media::SetTrailer& trailer)
      CAPSTAN_EXCLUDES(mutex_);
  // Nothing of the family on `target` can be used, as `why` says.
  void NoteFamily(const std::string& target, const Status& why) CAPSTAN_EXCLUDES(mutex_);
  // What is wrong with the set although every byte of it is as it was written.
  void NoteFailure(const Status& failure) CAPSTAN_EXCLUDES(mutex_);

  bool any() const CAPSTAN_EXCLUDES(mutex_);

  // Everything that was not noted as good, for a job that has read the whole set. In order of file
  // and offset. Of a file that the set holds parts of, only frames that are known to be lost.
  std::vector<LostRange> Lost(const media::BackupSet& set) const CAPSTAN_EXCLUDES(mutex_);
  // The frames that were noted as lost, for one that has read parts of it.
  std::vector<LostRange> LostFrames() const CAPSTAN_EXCLUDES(mutex_);
  // For an observer, in the order to be said: number and text; `lost` comes last. Long lists are
  // cut short, which is said as well.
  std::vector<std::pair<int, std::string>> Messages(const media::BackupSet& set,
                                                    const std::vector<LostRange>& lost) const
      CAPSTAN_EXCLUDES(mutex_);

 private:
  // Bytes of one file that are there: begin to end, neither touching nor overlapping.
  using Coverage = std::map<std::uint64_t, std::uint64_t>;

  void Say(int number, std::string sentence) CAPSTAN_REQUIRES(mutex_);
  std::string TargetOf(const LostRange& range) const CAPSTAN_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::map<std::uint32_t, Coverage> good_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<LostRange> lost_frames_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<std::string> open_targets_ CAPSTAN_GUARDED_BY(mutex_);  // whose losses are not known
  // The first ones, with their numbers.
  std::vector<std::pair<int, std::string>> sentences_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint64_t sentence_count_ CAPSTAN_GUARDED_BY(mutex_) = 0;
};

// "n bytes of file 'x' from byte m, pages a to b", of one frame, or of a stretch.
std::string PlaceOf(const media::BackupSet& set, const media::FrameExtent& frame);
std::string PlaceOf(const media::BackupSet& set, const LostRange& range);

}  // namespace capstan::engine
