// The buffers of an EngineSet: what may be requested, and how a further area reaches every process.
#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "vdi/base/crash_point.h"
#include "vdi/configuration.h"
#include "vdi/engine_set.h"

namespace capstan::vdi {
namespace {

// The configuration tells the client the size of its area in 32 bits.
constexpr std::uint64_t kAreaBytesMax = std::numeric_limits<std::uint32_t>::max();
// Different sizes and alignments in one area. Keeps the sum of their rooms within 64 bits, too.
constexpr std::size_t kClassesMax = 64;

std::uint64_t CountOf(const std::vector<BufferClass>& classes) {
  std::uint64_t count = 0;
  for (const BufferClass& one : classes) {
    count += one.count;
  }
  return count;
}

}  // namespace

AreaMessage EngineSet::AnnounceArea(std::uint32_t index, const BufferArea& area) {
  auto message = NewMessage<AreaMessage>();
  message.size = area.memory().size();
  message.index = index;
  message.alignment = area.alignment();
  return message;
}

Status EngineSet::RequestBuffers(std::uint32_t size, std::uint32_t alignment, std::uint32_t count) {
  std::vector<BufferClass> classes;
  {
    MutexLock lock(mutex_);
    if (state_ != State::kConfigurable && !InUse()) {
      return WrongState("RequestBuffers");
    }
    CAPSTAN_ASSIGN_OR_RETURN(const BufferClass shape, ShapeOf(size, alignment, count));
    if (state_ == State::kConfigurable) {
      return AddRequest(shape);
    }
    classes.push_back(shape);
    CAPSTAN_RETURN_IF_ERROR(CheckRoomFor(classes));
  }
  // Without the lock: memory takes its time, and an abort must not wait for it.
  CAPSTAN_ASSIGN_OR_RETURN(std::unique_ptr<BufferArea> area, BufferArea::Create(classes));
  MutexLock lock(mutex_);
  if (!InUse()) {
    return WrongState("RequestBuffers");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckRoomFor(classes));
  CAPSTAN_ASSIGN_OR_RETURN(const std::uint32_t index, buffers().Add(std::move(area)));
  const BufferArea& added = buffers().area(index);
  CAPSTAN_CRASH_POINT("vdi.server.before_area");
  TellAll(AnnounceArea(index, added), added.memory().fd());
  CAPSTAN_CRASH_POINT("vdi.server.after_area");
  return OkStatus();
}

Result<BufferClass> EngineSet::ShapeOf(std::uint32_t size, std::uint32_t alignment,
                                       std::uint32_t count) const {
  if (size == 0 || count == 0 || size > config_.max_transfer_size ||
      size % config_.block_size != 0) {
    return Error(Code::kInvalidArgument,
                 "unable to request {} buffers of {} bytes: sizes are multiples of {} up to {}",
                 count, size, config_.block_size, config_.max_transfer_size);
  }
  CAPSTAN_RETURN_IF_ERROR(CheckBufferAlignment(alignment));
  return BufferClass{.size = size,
                     .alignment = std::max(alignment, config_.alignment),
                     .count = count,
                     .prefix_zone_size = config_.prefix_zone_size};
}

Status EngineSet::AddRequest(const BufferClass& shape) {
  const auto same =
      std::find_if(requested_.begin(), requested_.end(), [&](const BufferClass& other) {
        return other.size == shape.size && other.alignment == shape.alignment;
      });
  if (same == requested_.end()) {
    if (requested_.size() == kClassesMax) {
      return Error(Code::kResourceExhausted, "buffers of {} different sizes are requested already",
                   requested_.size());
    }
    requested_.push_back(shape);
    return OkStatus();
  }
  if (shape.count > std::numeric_limits<std::uint32_t>::max() - same->count) {
    return Error(Code::kResourceExhausted, "unable to request {} more buffers", shape.count);
  }
  same->count += shape.count;
  return OkStatus();
}

Status EngineSet::CheckRoomFor(const std::vector<BufferClass>& classes) const {
  const std::uint64_t size = BufferAreaSize(classes);
  const std::uint64_t taken = buffers().size();
  const std::uint64_t left = origin_.segment_bytes_max - std::min(origin_.segment_bytes_max, taken);
  if (size > std::min(left, kAreaBytesMax)) {
    return Error(Code::kResourceExhausted, "{} buffers need {} bytes; {} are allowed",
                 CountOf(classes), size, std::min(left, kAreaBytesMax))
        .WithHint("lower BUFFERCOUNT or MAXTRANSFERSIZE");
  }
  return OkStatus();
}

Status EngineSet::ReserveRequested() {
  if (requested_.empty()) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(CheckRoomFor(requested_));
  CAPSTAN_ASSIGN_OR_RETURN(std::unique_ptr<BufferArea> area, BufferArea::Create(requested_));
  config_.buffer_area_size = static_cast<std::uint32_t>(area->memory().size());
  return buffers().Add(std::move(area)).status();
}

Result<std::uint32_t> EngineSet::QueryAvailableBuffers(std::uint32_t size,
                                                       std::uint32_t alignment) const {
  MutexLock lock(mutex_);
  if (state_ != State::kConfigurable && !InUse()) {
    return WrongState("QueryAvailableBuffers");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckBufferAlignment(alignment));
  return buffers().Available(size, alignment);
}

Result<std::byte*> EngineSet::AllocateBuffer(std::uint32_t size, std::uint32_t alignment) {
  MutexLock lock(mutex_);
  if (!InUse()) {
    return WrongState("AllocateBuffer");
  }
  if (size == 0) {
    return Error(Code::kInvalidArgument, "unable to allocate a buffer of no bytes");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckBufferAlignment(alignment));
  return buffers().Allocate(size, alignment);
}

Status EngineSet::FreeBuffer(std::byte* buffer) {
  // In every state that has buffers: what was taken can always be given back.
  MutexLock lock(mutex_);
  if (buffers().area_count() == 0) {
    return Error(Code::kFailedPrecondition, "device set '{}' has no buffers", name());
  }
  return buffers().Free(buffer);
}

bool EngineSet::IsSharedBuffer(const void* address) const {
  MutexLock lock(mutex_);
  return buffers().Contains(static_cast<const std::byte*>(address));
}

}  // namespace capstan::vdi
