// RestorePipeline: reads every family of a backup set from an open device set, checks every frame,
// and hands the payload on from the buffer that it arrived in, or from the DecodePool's if it is
// compressed or encrypted. RESTORE DATABASE and VERIFYONLY are the same pipeline with different
// sinks. The key of an encrypted set is unlocked before the sink hears of the set.
//
// Threads: Run from the job's thread; one worker per family, which calls the sink.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/engine/decode_pool.h"
#include "server/engine/family_gate.h"
#include "server/engine/first_error.h"
#include "server/engine/monitor.h"
#include "server/engine/open_set.h"
#include "server/media/family_reader.h"

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
    std::uint16_t file_number = 1;
  };

  explicit RestorePipeline(Parts parts);

  // OK only if every family was read to its end and all of them together are whole.
  Status Run();

  // The final header of the set, after Run.
  const media::BackupSet& set() const { return finished_.front().trailer.set; }

 private:
  class Visitor;
  Status ReadFamily(std::size_t index);
  Status OnAllFamilies(const ArrivedFamily& family);
  Status Deliver(const media::FrameView& frame);

  Parts parts_;
  FirstError error_;
  std::atomic<std::uint64_t> bytes_done_{0};
  FamilyGate gate_;
  SetCoding coding_;  // written by the worker that arrives last, before the others go on
  Monitor monitor_;
  std::vector<FinishedFamily> finished_;  // each worker writes its own
  DecodePool pool_;                       // last: its threads use the rest
};

}  // namespace capstan::engine
