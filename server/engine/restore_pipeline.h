// RestorePipeline: reads every family of a backup set from an open device set, checks every frame,
// and hands the payload on from the buffer that it arrived in, or from the DecodePool's if it is
// compressed or encrypted. RESTORE DATABASE and VERIFYONLY are the same pipeline with different
// sinks. The key of an encrypted set is unlocked before the sink hears of the set.
//
// With continue_after_error it goes on in spite of damage: good frames are handed on, everything
// else is reported. What cannot be read because a device fails is an error all the same.
//
// Threads: Run from the job's thread; one worker per family, which calls the sink.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/engine/damage_report.h"
#include "server/engine/decode_pool.h"
#include "server/engine/family_feed.h"
#include "server/engine/family_gate.h"
#include "server/engine/first_error.h"
#include "server/engine/monitor.h"
#include "server/engine/open_set.h"
#include "server/engine/restart/restored_frames.h"
#include "server/media/family_reader.h"
#include "server/media/set_digest.h"

namespace capstan::engine {

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // Once, before any frame, when every family's header has been read and they fit together.
  virtual Status OnSet(const media::BackupSet& set) = 0;
  // Any worker; frames in no order. The payload has passed its checks, and is as in the database.
  virtual Status OnFrame(const media::FrameView& frame) = 0;
};

class RestorePipeline {
 public:
  struct Parts {
    Job& job;
    JobObserver& observer;
    OpenSet& set;
    FrameSink& sink;
    std::chrono::milliseconds device_timeout;
    std::optional<int> stats_percent;
    KeyRing keys;
    DamageReport& damage;  // gets every good frame, and what is found if the job goes on
    std::uint16_t file_number = 1;
    std::string media_name;  // 4037 unless the medium has it; empty: any
    bool continue_after_error = false;
    // Of a restore that goes on: what is there already of this set, once the sink has heard of it;
    // null: nothing. Such frames are neither checked nor handed on, and where the device can go
    // there and nothing else proves the set, not even read.
    const RestoredFrames* restored = nullptr;
    Guid restored_set{};
  };

  explicit RestorePipeline(Parts parts);

  // OK only if every family was read to its end and all of them together are whole.
  Status Run();

  // The final header of the set, after Run; that of its beginning if every end is damaged.
  const media::BackupSet& set() const;
  // SetDigest of the frames whose checksums were right; of the whole set unless there was damage.
  std::string digest() const { return digest_.Value(); }

 private:
  class Visitor;
  Status ReadFamily(std::size_t index);
  // Lets the feed begin where the first frame is that is not there yet. 3019 if the family is not
  // what was read before.
  Status SkipRestored(DeviceChannel& channel, FamilyFeed& feed);
  Status NotAsBefore(const std::string& target) const;
  Status OnAllFamilies(const ArrivedFamily& family);
  Status Deliver(const media::FrameView& frame);
  // What becomes of a frame that is no good: the job's error, or a line of the report.
  Status NoteBad(const std::string& target, const media::FrameExtent& extent, Status why);

  Parts parts_;
  FirstError error_;
  std::atomic<std::uint64_t> bytes_done_{0};
  media::SetDigest digest_;
  FamilyGate gate_;
  SetCoding coding_;  // written by the worker that arrives last, before the others go on
  Monitor monitor_;
  media::BackupSet begun_set_;            // of the worker that arrives last
  std::vector<FinishedFamily> finished_;  // each worker writes its own
  DecodePool pool_;                       // last: its threads use the rest
};

}  // namespace capstan::engine
