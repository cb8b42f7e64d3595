// SegmentedPart: a MediumPart that is composed beforehand: runs of bytes, hard filemarks between
// them.
//
// Internal to server/media. Threads: one at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "server/media/block_composer.h"
#include "server/media/family_writer.h"

namespace capstan::media {

struct PartSegment {
  bool behind_filemark = false;  // a hard one
  ByteVector bytes;
};

class SegmentedPart : public MediumPart {
 public:
  explicit SegmentedPart(std::vector<PartSegment> segments) : segments_(std::move(segments)) {}

  std::uint64_t size_bytes() const override {
    std::uint64_t size = 0;
    for (const PartSegment& segment : segments_) {
      size += segment.bytes.size();
    }
    return size;
  }

  std::size_t Fill(std::span<std::byte> target) override {
    if (at_ == segments_.size() || (segments_[at_].behind_filemark && !filemark_taken_)) {
      return 0;
    }
    const Bytes rest = Bytes(segments_[at_].bytes).subspan(position_);
    const std::size_t size = std::min(rest.size(), target.size());
    std::memcpy(target.data(), rest.data(), size);
    Advance(size);
    return size;
  }

  bool TakeFilemark() override {
    if (at_ == segments_.size() || !segments_[at_].behind_filemark || filemark_taken_) {
      return false;
    }
    filemark_taken_ = true;
    Advance(0);
    return true;
  }

 protected:
  // For what depends on a position; of the same size as before.
  void Replace(std::size_t index, ByteVector bytes) { segments_[index].bytes = std::move(bytes); }

 private:
  void Advance(std::size_t size) {
    position_ += size;
    if (position_ == segments_[at_].bytes.size()) {
      ++at_;
      position_ = 0;
      filemark_taken_ = false;
    }
  }

  std::vector<PartSegment> segments_;
  std::size_t at_ = 0;        // the current segment
  std::size_t position_ = 0;  // in it
  bool filemark_taken_ = false;
};

// What stands in front of the frames. With hard filemarks the SSET learns where it is.
class PreamblePart final : public SegmentedPart {
 public:
  PreamblePart(std::vector<PartSegment> segments, std::function<ByteVector(std::uint64_t)> set_head)
      : SegmentedPart(std::move(segments)), set_head_(std::move(set_head)) {}
  void SetPosition(std::uint64_t block) override { Replace(1, set_head_(block)); }

 private:
  const std::function<ByteVector(std::uint64_t)> set_head_;
};

}  // namespace capstan::media
