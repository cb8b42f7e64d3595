#include "plugins/s3/part_memory.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <sys/mman.h>

namespace capstan::s3 {
namespace {

constexpr std::chrono::milliseconds kCancelPoll{100};

}  // namespace

std::unique_ptr<PartMemory::Piece> PartMemory::Take(const Wish& wish) {
  std::unique_lock lock(mutex_);
  while (!wish.holds_none && used_ + wish.size > wish.capacity) {
    freed_.wait_for(lock, kCancelPoll);
    if (wish.cancel()) {
      return nullptr;
    }
  }
  return TakeNow(wish.size);
}

std::unique_ptr<PartMemory::Piece> PartMemory::TryTake(std::size_t size, std::size_t capacity) {
  const std::lock_guard lock(mutex_);
  return used_ + size > capacity ? nullptr : TakeNow(size);
}

std::unique_ptr<PartMemory::Piece> PartMemory::TakeNow(std::size_t size) {
  const auto fits = std::find_if(spare_.begin(), spare_.end(), [size](const Pages& pages) {
    return pages.get_deleter().size == size;
  });
  Pages pages(nullptr, Unmap{0});
  if (fits != spare_.end()) {
    pages = std::move(*fits);
    spare_.erase(fits);
  } else {
    spare_.clear();  // parts have got another size
    void* const mapped =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
      return nullptr;
    }
    pages = Pages(static_cast<std::byte*>(mapped), Unmap{size});
  }
  used_ += size;
  return std::make_unique<Piece>(*this, std::move(pages));
}

void PartMemory::GiveBack(Pages pages) {
  const std::lock_guard lock(mutex_);
  used_ -= pages.get_deleter().size;
  if (used_ > 0) {
    spare_.push_back(std::move(pages));
  } else {
    spare_.clear();
  }
  freed_.notify_all();
}

void PartMemory::Unmap::operator()(std::byte* bytes) const {
  ::munmap(bytes, size);
}

}  // namespace capstan::s3
