// SpanningStream: one media family on its way to a device whose medium can be changed: like a tape,
// or removable.
//
// Such a medium warns of its end: a write completes with 1100 and is stored (VDI specification,
// "End of Media Processing"). What was sent after it and came back unsent is sent again, one by one
// and in order; then the medium is full. The next frame, or the trailer if it does not surely fit,
// makes the stream end the medium as MTF asks, wait for the next one, and go on there. Nothing of
// that holds up the readers: frames wait in a queue, and other families look less loaded.
//
// Threads: one jthread per stream, which alone touches the writer and sends commands; it lives as
// long as the stream. Completions come from the set's thread. The stream must be destroyed when
// nothing of it is in flight, as after BackupPipeline::RunStep.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "server/engine/family_stream.h"
#include "server/engine/media_control.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {

class SpanningStream final : public FamilyStream {
 public:
  SpanningStream(const Parts& parts, std::unique_ptr<media::FamilyWriter> writer);
  ~SpanningStream() override;

  std::uint32_t load() const override { return load_.load(std::memory_order_relaxed); }
  Status WritePreamble() override;
  Status WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) override
      CAPSTAN_EXCLUDES(mutex_);
  Status WriteTrailer(const media::BackupSet& final_set,
                      std::span<const media::FamilySummary> families) override;

 private:
  // Something that another thread has the stream's thread do, and waits for.
  struct Task {
    std::function<Status()> work;
    std::optional<Status> result;
  };
  struct Item {
    TransferBuffer* buffer = nullptr;  // a frame
    media::FrameExtent extent;
    Task* task = nullptr;  // or a task
  };
  // A frame that was sent and is not known to be stored.
  struct Flight {
    std::uint64_t serial = 0;
    TransferBuffer* buffer = nullptr;
    std::uint32_t size = 0;  // of the frame, bytes
    std::uint64_t position = 0;
    bool completed = false;
    vdi::CompletionCode code = vdi::CompletionCode::kSuccess;
    std::uint32_t bytes = 0;  // of those, stored
  };
  enum class Turn { kFrame, kTask, kSettle, kGiveUp, kEnd };
  enum class PartEnd { kWhole, kFull };

  static void OnWritten(vdi::ServerCommand* command);
  Status Do(std::function<Status()> work) CAPSTAN_EXCLUDES(mutex_);

  // --- the stream's thread ---
  void Run() CAPSTAN_EXCLUDES(mutex_);
  Turn NextTurn(Item* item) CAPSTAN_EXCLUDES(mutex_);
  std::optional<Turn> TurnNow() CAPSTAN_REQUIRES(mutex_);
  void GiveUp() CAPSTAN_EXCLUDES(mutex_);
  void RunTask(Task* task) CAPSTAN_EXCLUDES(mutex_);
  Status SendFrame(const Item& item) CAPSTAN_EXCLUDES(mutex_);
  Status Settle() CAPSTAN_EXCLUDES(mutex_);
  Status CheckSettleable(const std::vector<Flight>& flights, std::uint64_t last_stored);
  Status StoreRest(Flight& flight);
  Status EndFamily(const media::BackupSet& final_set,
                   std::span<const media::FamilySummary> families);
  Status ChangeMedium(bool only_end_follows);
  Status RefuseOwnMedium();
  Result<PartEnd> WritePart(media::MediumPart& part, bool stop_when_full);
  // Writes, waiting, and again what a warning left over.
  Status WriteNow(TransferBuffer& buffer, std::uint32_t size, std::uint64_t position);
  void NoteWarning(std::uint32_t size);
  void UseRoom(std::uint64_t size);
  bool Fits(std::uint64_t size) const;
  Status Fail(vdi::CompletionCode code);

  MediaControl media_;
  TransferBuffer& spare_;  // for everything but frames
  const std::uint32_t transfer_size_;
  const std::uint64_t end_size_;       // bytes that end a full medium
  const std::uint64_t in_flight_max_;  // bytes

  // The stream's thread's.
  std::uint64_t position_ = 0;  // in the medium
  bool full_ = false;           // the medium has warned
  std::uint64_t room_ = 0;      // bytes that a full medium is known to take yet
  int media_without_frames_ = 0;

  std::atomic<std::uint32_t> load_{0};  // frames that were handed over and are not stored

  Mutex mutex_;
  CondVar work_;
  CondVar task_done_;
  std::deque<Item> inbox_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<Flight> flights_ CAPSTAN_GUARDED_BY(mutex_);  // in the order of sending
  std::uint64_t in_flight_bytes_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::uint32_t outstanding_ CAPSTAN_GUARDED_BY(mutex_) = 0;  // flights that have not completed
  std::uint64_t serial_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_stored_ CAPSTAN_GUARDED_BY(mutex_) = 0;            // serial of a flight
  std::uint64_t stored_behind_warning_ CAPSTAN_GUARDED_BY(mutex_) = 0;  // bytes
  bool troubled_ CAPSTAN_GUARDED_BY(mutex_) = false;  // a flight has not simply succeeded
  bool ending_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::jthread thread_;  // last: it uses the rest
};

}  // namespace capstan::engine
