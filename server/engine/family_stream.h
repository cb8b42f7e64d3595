// FamilyStream: one media family on its way to its device, or to its mirrors. Frames get their
// place in the order in which they are sent, so any reader may send to any family at any time.
//
// There are two kinds. Devices whose media cannot be changed take frames straight from the readers'
// threads: every buffer goes to each mirror (MIRROR TO), at the same place, and is free when all
// have it. So mirrors are equal to the byte, and as fast as the slowest. SpanningStream
// (spanning_stream.h) serves a device whose medium can be changed.
// Threads: WriteFrame, load and failure from any; the rest from the job's thread while no reader
// runs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "server/engine/first_error.h"
#include "server/engine/open_set.h"
#include "server/media/family_writer.h"

namespace capstan::engine {

class FamilyStream {
 public:
  // All must outlive the stream. `bytes_done` counts payload that was handed to a device.
  struct Parts {
    OpenSet& set;
    std::vector<std::size_t> devices;  // of the set: one, or that of each mirror
    FirstError& error;
    std::atomic<std::uint64_t>& bytes_done;
  };
  static std::unique_ptr<FamilyStream> Create(const Parts& parts,
                                              std::unique_ptr<media::FamilyWriter> writer);
  virtual ~FamilyStream() = default;
  FamilyStream(const FamilyStream&) = delete;
  FamilyStream& operator=(const FamilyStream&) = delete;

  media::FrameGeometry geometry() const { return geometry_; }
  // While nothing is sent.
  media::FamilyWriter& writer() { return *writer_; }
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
        channel_(parts.set.device(parts.devices.front())),
        error_(parts.error),
        bytes_done_(parts.bytes_done),
        writer_(std::move(writer)),
        geometry_(writer_->geometry()),
        failed_(&channel_) {}

  // Notes that a command ended with `code`. The pipeline finds better words for it once everything
  // has drained (OpenSet::ErrorOf may wait).
  void NoteFailure(vdi::CompletionCode code) { NoteFailure(channel_, code); }
  void NoteFailure(DeviceChannel& channel, vdi::CompletionCode code);
  // How a write has ended: one that took less than it was given has failed.
  static vdi::CompletionCode OutcomeOf(const vdi::ServerCommand& write);

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
