// FamilyStream: one media family on its way to one device. Frames get their place in the order in
// which they are sent, so any reader may send to any family at any time.
//
// There are three kinds: a device whose medium cannot be changed takes frames straight from the
// readers' threads; SpanningStream (spanning_stream.h) serves the others, and MirroredStream
// (mirrored_stream.h) several devices with the same bytes.
// Threads: WriteFrame, load and failure from any; the rest from the job's thread while no reader
// runs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "server/engine/first_error.h"
#include "server/engine/open_set.h"
#include "server/media/family_writer.h"

namespace capstan::engine {

class FamilyStream {
 public:
  // All must outlive the stream. `bytes_done` counts payload that was handed to a device.
  struct Parts {
    OpenSet& set;
    std::size_t device_index;
    FirstError& error;
    std::atomic<std::uint64_t>& bytes_done;
    // The family's mirrors are the devices device_index, device_index + mirror_stride, ...
    std::size_t mirror_count = 1;
    std::size_t mirror_stride = 0;
  };
  static std::unique_ptr<FamilyStream> Create(const Parts& parts,
                                              std::unique_ptr<media::FamilyWriter> writer);
  virtual ~FamilyStream() = default;
  FamilyStream(const FamilyStream&) = delete;
  FamilyStream& operator=(const FamilyStream&) = delete;

  media::FrameGeometry geometry() const { return geometry_; }
  // The one whose failure() it is, if that is not success; otherwise the first mirror's.
  DeviceChannel& channel() { return *failed_.load(std::memory_order_acquire); }
  // How much waits for this device: the next frame should go where it is least.
  virtual std::uint32_t load() const = 0;

  // Sends what stands in front of the frames.
  virtual Status WritePreamble() = 0;
  // Puts the frame around the payload in `buffer` and sends it. Takes the buffer over, in any case.
  virtual Status WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) = 0;
  media::FamilySummary summary() const { return writer_->summary(); }
  // Sends what ends the set on this family.
  virtual Status WriteTrailer(const media::BackupSet& final_set,
                              std::span<const media::FamilySummary> families) = 0;

  // The code of the first command that failed, or success.
  vdi::CompletionCode failure() const { return failure_.load(std::memory_order_acquire); }

 protected:
  FamilyStream(const Parts& parts, std::unique_ptr<media::FamilyWriter> writer)
      : set_(parts.set),
        channel_(parts.set.device(parts.device_index)),
        error_(parts.error),
        bytes_done_(parts.bytes_done),
        writer_(std::move(writer)),
        geometry_(writer_->geometry()),
        failed_(&channel_) {}

  // Notes that a command ended with `code`. The pipeline finds better words for it once everything
  // has drained (OpenSet::ErrorOf may wait).
  void NoteFailure(vdi::CompletionCode code) { NoteFailure(channel_, code); }
  void NoteFailure(DeviceChannel& channel, vdi::CompletionCode code);

  OpenSet& set_;
  DeviceChannel& channel_;
  FirstError& error_;
  std::atomic<std::uint64_t>& bytes_done_;
  const std::unique_ptr<media::FamilyWriter> writer_;
  const media::FrameGeometry geometry_;

 private:
  std::atomic<DeviceChannel*> failed_;
  std::atomic<vdi::CompletionCode> failure_{vdi::CompletionCode::kSuccess};
};

}  // namespace capstan::engine
