#include "server/engine/decode_pool.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

// A failure elsewhere wakes nobody here: who waits looks by itself.
constexpr std::chrono::milliseconds kWatchInterval{50};

}  // namespace

Status DecodePool::Start(const SetCoding& coding) {
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  for (std::size_t i = 0; i < threads; ++i) {
    CAPSTAN_ASSIGN_OR_RETURN(ExtentDecoder decoder, ExtentDecoder::Create(coding));
    decoders_.push_back(std::make_unique<ExtentDecoder>(std::move(decoder)));
  }
  {
    MutexLock lock(mutex_);
    for (std::size_t i = 0; i < 2 * threads; ++i) {
      slots_.push_back(std::make_unique<Slot>());
      free_.push_back(slots_.back().get());
    }
  }
  for (const auto& decoder : decoders_) {
    workers_.Start([this, &decoder] { return Work(*decoder); });
  }
  return OkStatus();
}

bool DecodePool::started() const {
  MutexLock lock(mutex_);
  return !slots_.empty();
}

DecodePool::Slot* DecodePool::TakeFree() {
  MutexLock lock(mutex_);
  while (free_.empty() && !error_.failed()) {
    (void)freed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kWatchInterval);
  }
  if (error_.failed()) {
    return nullptr;
  }
  Slot* const slot = free_.back();
  free_.pop_back();
  return slot;
}

Status DecodePool::Submit(const media::FrameView& frame, const std::string& target) {
  Slot* const slot = TakeFree();
  if (slot == nullptr) {
    return error_.status();
  }
  slot->stored.assign(frame.payload.begin(), frame.payload.end());
  slot->frame = frame;
  slot->frame.bytes = {};  // what arrived will not be there any more
  slot->target = &target;
  MutexLock lock(mutex_);
  ready_.push_back(slot);
  filled_.NotifyOne();
  return OkStatus();
}

void DecodePool::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  filled_.NotifyAll();
}

DecodePool::Slot* DecodePool::TakeFilled() {
  MutexLock lock(mutex_);
  while (ready_.empty() && !closed_ && !error_.failed()) {
    (void)filled_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kWatchInterval);
  }
  if (ready_.empty() || error_.failed()) {
    return nullptr;
  }
  Slot* const slot = ready_.back();  // the one whose bytes the caches still hold
  ready_.pop_back();
  return slot;
}

void DecodePool::Release(Slot* slot) {
  MutexLock lock(mutex_);
  free_.push_back(slot);
  freed_.NotifyOne();
}

Status DecodePool::DecodeAndDeliver(ExtentDecoder& decoder, Slot& slot) {
  const auto payload = decoder.Decode(slot.frame.extent, slot.stored);
  DecodedFrame decoded{.frame = slot.frame, .target = *slot.target, .status = {}};
  decoded.frame.payload = payload.ok() ? *payload : std::span<const std::byte>();
  if (!payload.ok()) {
    decoded.status =
        SqlError(65004, *slot.target, slot.frame.medium_offset, payload.status().message());
  }
  return deliver_(decoded);
}

Status DecodePool::Work(ExtentDecoder& decoder) {
  while (Slot* const slot = TakeFilled()) {
    CAPSTAN_RETURN_IF_ERROR(DecodeAndDeliver(decoder, *slot));
    Release(slot);
  }
  return OkStatus();
}

}  // namespace capstan::engine
