// The two ends of one ring in shared memory: exactly one producer, exactly one consumer.
//
// Either end may face a hostile peer. Each keeps its own count in private memory and never reads it
// back from the segment; the peer's count is loaded once, checked against what is possible, then
// used. A count that is impossible is RingResult::kCorrupt, and the end that saw it must be used no
// more.
// Threads: neither end is safe to share between threads; the two ends may be in different
// processes.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "vdi/segment_layout.h"

namespace capstan::vdi {

enum class RingResult {
  kDone,
  kNothing,  // producer: full; consumer: empty
  kCorrupt,  // the peer's count is impossible
};

template <typename Record>
class RingProducer {
 public:
  explicit RingProducer(Ring<Record>& ring) : ring_(ring) {}

  RingResult Post(const Record& record) {
    if (posted_ - peer_taken_ == kRingCapacity) {
      // SYNC(slot-free), acquire half: the consumer has copied the record out before it moved its
      // count, so writing the slot again cannot tear what it reads. Reading an old count is
      // harmless: the ring only seems full an instant longer.
      const std::uint64_t taken = ring_.taken.count.load(std::memory_order_acquire);
      if (taken < peer_taken_ || taken > posted_) {
        return RingResult::kCorrupt;
      }
      peer_taken_ = taken;
      if (posted_ - peer_taken_ == kRingCapacity) {
        return RingResult::kNothing;
      }
    }
    using Words = std::array<std::uint64_t, sizeof(Record) / 8>;
    const Words words = std::bit_cast<Words>(record);
    auto& slot = ring_.slots[posted_ & (kRingCapacity - 1)];
    for (std::size_t i = 0; i < words.size(); ++i) {
      // Relaxed is enough: the store of `posted` below orders it.
      slot.words[i].store(words[i], std::memory_order_relaxed);
    }
    // SYNC(record-posted), release half; the acquire half is RingConsumer::Take. The record must be
    // visible before the count that covers it.
    // Sequentially consistent, not merely release: SYNC(sleep), poster half. WakeIfAsleep loads the
    // sleep word after this store, and the two must not be swapped; see wake.h.
    ring_.posted.count.store(++posted_, std::memory_order_seq_cst);
    return RingResult::kDone;
  }

 private:
  Ring<Record>& ring_;
  std::uint64_t posted_ = 0;      // the truth; the shared count is for the peer
  std::uint64_t peer_taken_ = 0;  // as last seen, so that the peer's line is read once per lap
};

template <typename Record>
class RingConsumer {
 public:
  explicit RingConsumer(Ring<Record>& ring) : ring_(ring) {}

  // True if Take would not return kNothing. Sequentially consistent: the sleeper half of
  // SYNC(sleep).
  bool Ready() const { return peer_posted_ != taken_ || PostedCount() != taken_; }

  RingResult Take(Record& record) {
    if (taken_ == peer_posted_) {
      // SYNC(record-posted), acquire half: every record below this count is complete.
      const std::uint64_t posted = ring_.posted.count.load(std::memory_order_acquire);
      if (posted < taken_ || posted - taken_ > kRingCapacity) {
        return RingResult::kCorrupt;
      }
      peer_posted_ = posted;
      if (taken_ == peer_posted_) {
        return RingResult::kNothing;
      }
    }
    std::array<std::uint64_t, sizeof(Record) / 8> words;
    const auto& slot = ring_.slots[taken_ & (kRingCapacity - 1)];
    for (std::size_t i = 0; i < words.size(); ++i) {
      // Each word is loaded once; from here on only the private copy is looked at.
      words[i] = slot.words[i].load(std::memory_order_relaxed);
    }
    record = std::bit_cast<Record>(words);
    // SYNC(slot-free), release half; the acquire half is RingProducer::Post.
    ring_.taken.count.store(++taken_, std::memory_order_release);
    return RingResult::kDone;
  }

 private:
  std::uint64_t PostedCount() const { return ring_.posted.count.load(std::memory_order_seq_cst); }

  Ring<Record>& ring_;
  std::uint64_t taken_ = 0;        // the truth; the shared count is for the peer
  std::uint64_t peer_posted_ = 0;  // as last seen
};

}  // namespace capstan::vdi
