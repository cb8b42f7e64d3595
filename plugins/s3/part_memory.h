// PartMemory: the memory for parts that are being filled or sent, of all devices of the process.
//
// There is never more of it than a device's Settings::memory_mb allow, except that a device that
// holds none always gets one part: so nobody waits for ever.
// Threads: any.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace capstan::s3 {

class PartMemory {
 public:
  // Pages of our own: what malloc gets back it may keep, and a part is large.
  struct Unmap {
    std::size_t size;
    void operator()(std::byte* bytes) const;
  };
  using Pages = std::unique_ptr<std::byte[], Unmap>;

  // One part's; gives itself back.
  class Piece {
   public:
    Piece(PartMemory& owner, Pages pages) : owner_(owner), pages_(std::move(pages)) {}
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;
    ~Piece() { owner_.GiveBack(std::move(pages_)); }

    std::span<std::byte> bytes() { return {pages_.get(), pages_.get_deleter().size}; }

   private:
    PartMemory& owner_;
    Pages pages_;
  };

  struct Wish {
    std::size_t size = 0;          // bytes
    std::size_t capacity = 0;      // bytes, of all pieces together
    bool holds_none = false;       // the device has no piece: it is not made to wait
    std::function<bool()> cancel;  // asked a few times a second
  };
  // Null: cancelled, or there is none at all. The bytes are whatever they were.
  std::unique_ptr<Piece> Take(const Wish& wish);
  // Null: it would be more than `capacity`, or there is none at all.
  std::unique_ptr<Piece> TryTake(std::size_t size, std::size_t capacity);

 private:
  std::unique_ptr<Piece> TakeNow(std::size_t size);  // REQUIRES: mutex_ is held
  void GiveBack(Pages pages);

  std::mutex mutex_;
  std::condition_variable freed_;
  std::size_t used_ = 0;      // guarded by mutex_; without the spare ones
  std::vector<Pages> spare_;  // guarded by mutex_; none while nothing is used
};

}  // namespace capstan::s3
