// ClientAreas: the buffer areas of a set, as they are mapped in this process, and the handles that
// name their buffers in every process of the set.
//
// Areas arrive in order, at any time, and stay until the set is closed. A handle is the area's
// index in its top 4 bits and below it the number, from 1, of a unit of 512 bytes: data starts at
// multiples of the set's alignment, which is never less.
// Threads: any; looking up an area that is there takes no lock.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/client_device_set.h"
#include "vdi/segment_layout.h"
#include "vdi/shared_memory.h"

namespace capstan::vdi {

class ClientAreas {
 public:
  // kDataLoss: it is not the next one.
  Status Add(std::uint32_t index, SharedMemory memory);

  // Null: not there after `patience`, or Stop was called. `index` may be any number.
  const SharedMemory* Await(std::uint32_t index, std::chrono::milliseconds patience);
  // Nothing more will come: waits end.
  void Stop();
  // Unmaps everything. REQUIRES: nobody uses the areas any more.
  void Clear();

  // nullopt and null: none of ours, or not at a multiple of `alignment`, the set's.
  std::optional<BufferHandle> HandleOf(const std::byte* data, std::uint32_t alignment) const;
  // Waits for the area: the process that names a handle may have got it earlier than this one.
  std::byte* AwaitAddressOf(BufferHandle handle, std::uint32_t alignment,
                            std::chrono::milliseconds patience);

 private:
  // SYNC(area-added): an area below this count is complete and does not change.
  std::atomic<std::uint32_t> count_{0};
  std::array<std::optional<SharedMemory>, kBufferAreasMax> areas_;

  Mutex mutex_;
  CondVar changed_;
  bool stopped_ CAPSTAN_GUARDED_BY(mutex_) = false;
};

}  // namespace capstan::vdi
