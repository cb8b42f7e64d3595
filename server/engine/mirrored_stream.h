// MirroredStream: one media family on its way to several devices at once (MIRROR TO): every buffer
// goes to each of them, at the same place, and is free when all have it. So the mirrors are equal
// to the byte, and as fast as the slowest.
//
// Threads: as FamilyStream; completions come from the set's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "server/engine/family_stream.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {

class MirroredStream final : public FamilyStream {
 public:
  MirroredStream(const Parts& parts, std::unique_ptr<media::FamilyWriter> writer);
  ~MirroredStream() override;

  std::uint32_t load() const override;
  Status WritePreamble() override;
  Status WriteFrame(TransferBuffer* buffer, const media::FrameExtent& extent) override
      CAPSTAN_EXCLUDES(mutex_);
  Status WriteTrailer(const media::BackupSet& final_set,
                      std::span<const media::FamilySummary> families) override;

 private:
  struct Flight;

  static void OnWritten(vdi::ServerCommand* command);
  Status WritePart(media::MediumPart& part);
  // Sends the first `size` bytes of `buffer` to `position` of every mirror. Takes the buffer over.
  Status Send(TransferBuffer* buffer, std::uint32_t size, std::uint64_t position)
      CAPSTAN_EXCLUDES(flights_mutex_);
  Flight* TakeFlight() CAPSTAN_EXCLUDES(flights_mutex_);
  // One mirror has the buffer, or will not get it.
  void Land(Flight* flight) CAPSTAN_EXCLUDES(flights_mutex_);

  std::vector<DeviceChannel*> mirrors_;  // constant after construction
  std::uint64_t position_ = 0;           // where the next piece of preamble or trailer goes

  Mutex mutex_;  // orders SealFrame and the sends that follow it

  Mutex flights_mutex_;
  std::vector<std::unique_ptr<Flight>> flights_ CAPSTAN_GUARDED_BY(flights_mutex_);  // all
  std::vector<Flight*> idle_ CAPSTAN_GUARDED_BY(flights_mutex_);
};

}  // namespace capstan::engine
