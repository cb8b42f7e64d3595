// BufferArea: one shared memory object full of transfer buffers, and which of them are taken.
//
// Buffers come in classes of one size and alignment, one class behind the other. Each buffer has
// the client's prefix zone directly in front of its data. Who has which buffer is private to the
// engine; nothing of it stands in shared memory.
// Threads: any; the layout is constant, allocation is O(1) under a private lock.
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

struct BufferClass {
  std::uint32_t size = 0;       // data bytes of a buffer
  std::uint32_t alignment = 1;  // of the data, a power of two
  std::uint32_t count = 0;      // of buffers
  std::uint32_t prefix_zone_size = 0;

  std::uint64_t prefix_room() const;  // bytes in front of data: prefix zone and padding
  std::uint64_t stride() const;       // bytes from one data start to the next

  // Whether one of these serves who asks for `wanted_size` bytes at such a multiple.
  bool Fits(std::uint32_t wanted_size, std::uint32_t wanted_alignment) const {
    return size >= wanted_size && alignment >= wanted_alignment;
  }
};

// Bytes of an area with these classes, in this order.
std::uint64_t BufferAreaSize(const std::vector<BufferClass>& classes);

class BufferArea {
 public:
  // kResourceExhausted: no memory.
  static Result<std::unique_ptr<BufferArea>> Create(std::vector<BufferClass> classes);

  // A buffer of this class; null: all are taken.
  std::byte* Allocate(std::size_t class_index);
  // kInvalidArgument: not the data start of a buffer that is taken.
  Status Free(std::byte* data);
  std::uint32_t FreeCount(std::size_t class_index) const;

  struct Place {
    std::uint64_t offset;  // of the data, from the start of the area
    std::uint32_t size;    // data bytes of the buffer
  };
  // nullopt if `data` is not the data start of one of ours, taken or not.
  std::optional<Place> Find(const std::byte* data) const;

  bool Contains(const std::byte* address) const;
  const std::vector<BufferClass>& classes() const { return classes_; }
  std::uint32_t alignment() const;  // the strictest of all classes
  const SharedMemory& memory() const { return memory_; }

 private:
  struct Slot {
    std::size_t class_index;
    std::uint32_t number;
    std::uint64_t offset;
  };
  struct Occupancy {
    // The last one freed is the first one taken: its bytes are the warmest.
    std::vector<std::uint32_t> free;
    std::vector<bool> taken;
  };

  BufferArea(std::vector<BufferClass> classes, SharedMemory memory);
  std::optional<Slot> SlotOf(const std::byte* data) const;

  const std::vector<BufferClass> classes_;
  std::vector<std::uint64_t> starts_;  // of each class, bytes from the start of the area
  const SharedMemory memory_;

  mutable Mutex mutex_;
  std::vector<Occupancy> occupancy_ CAPSTAN_GUARDED_BY(mutex_);  // by class
};

}  // namespace capstan::vdi
