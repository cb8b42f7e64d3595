// BackupPipeline: moves a consistent view of a database onto an open device set, up to the point
// where every family is complete and durable but not yet visible (prepared), then makes it visible.
//
// One reader thread per volume (S1-01) reads extents straight into transfer buffers and sends each
// to the family with the least in flight, so that a fast device gets more than a slow one. Where
// extents are compressed or encrypted, as many threads as there are cores read and code them, each
// into a transfer buffer: that takes one extent of memory per thread beside the pool. Threads: the
// job's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "server/engine/extent_coder.h"
#include "server/engine/family_stream.h"
#include "server/engine/first_error.h"
#include "server/engine/monitor.h"
#include "server/engine/open_set.h"
#include "server/engine/worker_group.h"
#include "server/media/backup_set.h"
#include "server/media/family_writer.h"
#include "server/media/set_digest.h"
#include "server/writers/database_writer.h"
#include "vdi/base/aligned_bytes.h"

namespace capstan::engine {

// Where the time of a backup went, for the completion report.
struct PipelineTimes {
  std::uint64_t read_ns = 0;      // readers in the database's files
  std::uint64_t checksum_ns = 0;  // readers computing CRC32C
  std::uint64_t starved_ns = 0;   // readers waiting for a free buffer, so for devices
  std::uint64_t total_ns = 0;     // from the first read to the last acknowledged write
};

class BackupPipeline {
 public:
  struct Parts {
    Job& job;
    JobObserver& observer;
    OpenSet& set;
    writers::BackupSession& session;
    const Timeouts& timeouts;
    std::optional<int> stats_percent;
    const SetCoding& coding;
    // Told a few times a second, by the job's thread, how many bytes were handed to devices.
    std::function<void(std::uint64_t bytes)> on_progress;
  };

  // One FamilyWriter per family. The set's devices are those of all families, in order, then their
  // mirrors likewise.
  BackupPipeline(Parts parts, std::vector<std::unique_ptr<media::FamilyWriter>> writers);

  // Before anything else, of a backup that goes on for the nth time: the frames that its media hold
  // already (restart/taken_up_family.h).
  Status TakeUp(std::uint32_t restarts);
  // Preambles, all extents, the end of the view, and a flush: all data is on the media.
  Status WriteData();
  // The trailers, and another flush: every family is prepared. `final_set` gets its sizes filled
  // in.
  Status WriteTrailers(media::BackupSet& final_set);
  // Commits every family. From the first call on, the backup can only be rolled forward.
  Status Complete();

  const PipelineTimes& times() const { return times_; }
  std::uint64_t bytes_done() const { return bytes_done_.load(); }  // of the database
  // A device has failed because there was no room.
  bool ran_out_of_space() const;
  // Payload bytes of each file of the database.
  std::uint64_t file_bytes(std::size_t file_index) const {
    return file_bytes_[file_index].load(std::memory_order_relaxed);
  }

 private:
  // Runs the steps in parallel under the monitor; on return nothing of them is in flight.
  Status RunStep(std::vector<std::function<Status()>> steps);
  struct Volumes {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  // Every volume, then what is known only when they have been read.
  Status ReadAll();
  // Where nothing is coded, each has a volume; otherwise they share them all.
  std::vector<std::function<Status()>> Readers(Volumes volumes);
  Status ReadVolume(std::uint32_t volume);
  Status CodeVolumes(Volumes volumes, std::size_t worker) CAPSTAN_EXCLUDES(extents_mutex_);
  // What a reader needs besides transfer buffers.
  struct Scratch {
    AlignedBytes piece;
    AlignedBytes payload;  // of an extent, where that is compressed
  };
  Status CodeExtent(ExtentEncoder& encoder, const writers::Extent& extent, const Scratch& scratch);
  Result<std::optional<writers::Extent>> NextExtent(std::uint32_t volume)
      CAPSTAN_EXCLUDES(extents_mutex_);
  // Reads an extent piece by piece, by way of `through` where that is faster; `crc32c`, unless
  // null, becomes that of its bytes.
  Status ReadPieces(const writers::Extent& extent, std::span<std::byte> target,
                    const AlignedBytes& through, std::uint32_t* crc32c);
  // Gives the frame its sequence number, and its payload to the family that waits for least.
  media::FrameExtent BeginFrame(const writers::Extent& extent);
  Status SendFrame(TransferBuffer* buffer, const media::FrameExtent& frame);
  void NoteKept(const media::FrameExtent& frame);
  Status ExecuteOnAll(vdi::CommandCode code, std::string_view phase);
  // The failure of the job in its best words: cancelled, a device by name and OS error, or as it
  // came.
  Status BestError();

  Parts parts_;
  Mutex extents_mutex_;  // readers that share a volume ask it one at a time
  FirstError error_;
  std::atomic<std::uint64_t> bytes_done_{0};
  std::atomic<std::uint64_t> sequence_{0};
  std::atomic<std::uint64_t> read_ns_{0};
  std::atomic<std::uint64_t> checksum_ns_{0};
  std::vector<std::atomic<std::uint64_t>> file_bytes_;
  media::SetDigest digest_;
  std::vector<std::unique_ptr<FamilyStream>> families_;
  media::FrameGeometry geometry_;
  Monitor monitor_;
  PipelineTimes times_;
};

}  // namespace capstan::engine
