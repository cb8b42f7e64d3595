// The transfer buffers of a device set, seen by the engine: slots of one size and who has them.
//
//   [pad][prefix zone][data, aligned][pad]   [pad][prefix zone][data, aligned][pad]   ...
//
// Data starts at a multiple of the alignment; the prefix zone, the client's own, ends where data
// starts. Which slots are free is known to the engine alone and never stands in shared memory.
// Threads: any; allocation is O(1) under a private lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/shared_memory.h"

namespace capstan::vdi {

struct BufferAreaLayout {
  std::uint32_t size = 0;   // data bytes of a buffer
  std::uint32_t count = 0;  // of buffers
  std::uint32_t prefix_zone_size = 0;
  std::uint32_t alignment = 1;  // power of two

  std::uint64_t prefix_room() const;  // bytes in front of data: prefix zone and padding
  std::uint64_t stride() const;       // bytes from one data start to the next
  std::uint64_t area_size() const;
};

class BufferArea {
 public:
  // kResourceExhausted: no memory.
  static Result<std::unique_ptr<BufferArea>> Create(const BufferAreaLayout& layout);

  // kResourceExhausted: all are taken.
  Result<std::byte*> Allocate();
  // kInvalidArgument: not the data start of a buffer that is taken.
  Status Free(std::byte* data);

  // The offset of a buffer's data from the start of the area; nullopt if `data` is not the start of
  // one of ours.
  std::optional<std::uint64_t> OffsetOf(const std::byte* data) const;

  std::uint32_t buffer_size() const { return layout_.size; }
  const SharedMemory& memory() const { return memory_; }

 private:
  BufferArea(const BufferAreaLayout& layout, SharedMemory memory);
  std::optional<std::uint32_t> SlotOf(const std::byte* data) const;

  const BufferAreaLayout layout_;
  const SharedMemory memory_;

  Mutex mutex_;
  // The last one freed is the first one taken: its bytes are the warmest.
  std::vector<std::uint32_t> free_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<bool> taken_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::vdi
