// FrameLosses: which frames of a family a reader that tolerates damage could not hand out, by their
// number in the order of the medium.
//
// Behind a damaged stretch the next good frame says by its control block id how many there were;
// where no frame follows, the next count that the medium states does.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace capstan::media {

class FrameLosses {
 public:
  // A frame was handed out.
  void Count() { ++next_; }
  // `count` frames were not.
  void Skip(std::uint64_t count) {
    if (count > 0) {
      ranges_.push_back({next_, next_ + count});
      next_ += count;
    }
  }
  // Nor was what else there is up to the next Close.
  void SkipRest() { open_ = true; }
  // `count` of the rest were frames.
  void Close(std::uint64_t count) {
    open_ = false;
    Skip(count);
  }
  // The family says that it holds `total` frames up to here. False if that cannot be.
  bool CloseAt(std::uint64_t total) {
    if (total < next_ || (total > next_ && !open_)) {
      return false;
    }
    Close(total - next_);
    return true;
  }

  // Whether how many are lost is not known yet.
  bool open() const { return open_; }
  // The number of the next frame.
  std::uint64_t next() const { return next_; }
  bool any() const { return open_ || !ranges_.empty(); }
  bool Contains(std::uint64_t frame) const {
    const auto range = std::upper_bound(
        ranges_.begin(), ranges_.end(), frame,
        [](std::uint64_t number, const Range& candidate) { return number < candidate.end; });
    return range != ranges_.end() && range->begin <= frame;
  }

 private:
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;  // the first that is not in it
  };

  std::uint64_t next_ = 0;
  bool open_ = false;
  std::vector<Range> ranges_;  // ascending
};

}  // namespace capstan::media
