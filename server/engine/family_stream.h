// FamilyStream: one media family on its way to one device. Frames get their place in the order in
// which they are sent, so any reader may send to any family at any time.
//
// Threads: WriteFrame from any; the rest from the job's thread while no reader runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "server/engine/first_error.h"
#include "server/engine/open_set.h"
#include "server/media/family_writer.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {

class FamilyStream {
 public:
  // All must outlive the stream. `bytes_done` counts payload that was handed to a device.
  FamilyStream(OpenSet& set, DeviceChannel& channel, std::unique_ptr<media::FamilyWriter> writer,
               FirstError& error, std::atomic<std::uint64_t>& bytes_done);

  media::FrameGeometry geometry() const { return geometry_; }
  std::uint32_t in_flight() const { return channel_.in_flight(); }
  DeviceChannel& channel() { return channel_; }

  // Sends what stands in front of the frames.
  Status WritePreamble();
  // Puts the frame around the payload in `buffer` and sends it. Takes the buffer over, in any case.
  Status WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent)
      CAPSTAN_EXCLUDES(mutex_);
  media::FamilySummary summary() const { return writer_->summary(); }
  // Sends what ends the set on this family.
  Status WriteTrailer(const media::BackupSet& final_set,
                      std::span<const media::FamilySummary> families);

  // The code of the first command that failed, or success.
  vdi::CompletionCode failure() const { return failure_.load(std::memory_order_acquire); }
  // Bytes of the finished medium.
  std::uint64_t position() const { return position_; }

 private:
  static void OnWritten(vdi::ServerCommand* command);
  // Sends the first `size` bytes of `buffer` to `position`; gives the buffer back if that fails.
  Status Send(TransferBuffer* buffer, std::uint32_t size, std::uint64_t position);

  OpenSet& set_;
  DeviceChannel& channel_;
  const std::unique_ptr<media::FamilyWriter> writer_;
  const media::FrameGeometry geometry_;
  FirstError& error_;
  std::atomic<std::uint64_t>& bytes_done_;
  std::atomic<vdi::CompletionCode> failure_{vdi::CompletionCode::kSuccess};
  std::uint64_t position_ = 0;  // where the next block of preamble or trailer goes

  Mutex mutex_;  // orders SealFrame and the send that follows it
};

}  // namespace capstan::engine
