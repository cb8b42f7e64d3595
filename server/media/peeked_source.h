// PeekedSource: a medium whose first bytes have been looked at. It gives them again, so that a
// forward-only medium is asked for nothing twice.
//
// Internal to server/media. Threads: one at a time.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "server/media/block_composer.h"
#include "server/media/family_reader.h"

namespace capstan::media {

class PeekedSource final : public MediumSource {
 public:
  static constexpr std::size_t kPeekSize = 512;

  explicit PeekedSource(MediumSource* source) : source_(source) {}

  // The first bytes; fewer only if the medium has no more.
  Result<Bytes> Peek() {
    start_.resize(kPeekSize);
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source_->ReadAt(0, start_));
    start_.resize(filled);
    return Bytes(start_);
  }

  const std::string& device_name() const override { return source_->device_name(); }
  std::uint64_t size_bytes() const override { return source_->size_bytes(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    std::size_t filled = 0;
    if (offset < start_.size()) {
      filled = std::min<std::size_t>(target.size(), start_.size() - offset);
      std::memcpy(target.data(), start_.data() + offset, filled);
    }
    if (filled == target.size()) {
      return filled;
    }
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t rest,
                             source_->ReadAt(offset + filled, target.subspan(filled)));
    return filled + rest;
  }
  Result<std::optional<std::uint64_t>> SkipToFilemark(std::uint64_t offset) override {
    return source_->SkipToFilemark(offset);
  }
  bool hard_filemarks() const override { return source_->hard_filemarks(); }
  std::optional<TapePlace> PlaceBehindFilemark(std::uint64_t offset) const override {
    return source_->PlaceBehindFilemark(offset);
  }

 private:
  MediumSource* const source_;
  ByteVector start_;
};

}  // namespace capstan::media
