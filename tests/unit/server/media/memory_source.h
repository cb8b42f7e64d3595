// Media as the listings read them: in memory, and sparse ones far larger than that.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/media/family_reader.h"

namespace capstan::media {

// A medium in memory. Forward-only ones fail the test if they are asked to go back.
class MemorySource final : public MediumSource {
 public:
  enum class Access { kRandom, kForward };

  explicit MemorySource(std::span<const std::byte> bytes, Access access = Access::kRandom)
      : bytes_(bytes), access_(access) {}

  const std::string& device_name() const override { return name_; }
  std::uint64_t size_bytes() const override {
    return access_ == Access::kRandom ? bytes_.size() : 0;
  }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    if (reads_left == 0) {
      return Error(Code::kUnavailable, "no more");
    }
    --reads_left;
    if (access_ == Access::kForward) {
      EXPECT_GE(offset, position_);
    }
    const std::size_t start = std::min<std::uint64_t>(offset, bytes_.size());
    const std::size_t size = std::min(target.size(), bytes_.size() - start);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(start), size, target.begin());
    position_ = start + size;
    bytes_read += size;
    return size;
  }

  std::uint64_t bytes_read = 0;
  std::uint64_t reads_left = std::numeric_limits<std::uint64_t>::max();

 private:
  const std::string name_ = "dev";
  const std::span<const std::byte> bytes_;
  const Access access_;
  std::uint64_t position_ = 0;
};

// A medium of which only some pieces were ever written; the rest reads as zeros.
class SparseSource final : public MediumSource {
 public:
  void Put(std::uint64_t offset, std::vector<std::byte> bytes) {
    size_ = std::max(size_, offset + bytes.size());
    pieces_[offset] = std::move(bytes);
  }
  const std::string& device_name() const override { return name_; }
  std::uint64_t size_bytes() const override { return size_; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    const std::uint64_t start = std::min(offset, size_);
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(target.size(), size_ - start));
    std::fill_n(target.begin(), size, std::byte{0});
    auto piece = pieces_.upper_bound(start);
    piece = piece == pieces_.begin() ? piece : std::prev(piece);
    for (; piece != pieces_.end() && piece->first < start + size; ++piece) {
      const std::uint64_t end = piece->first + piece->second.size();
      const std::uint64_t from = std::max(start, piece->first);
      const std::uint64_t to = std::min(start + size, end);
      if (from < to) {
        std::copy_n(piece->second.begin() + static_cast<std::ptrdiff_t>(from - piece->first),
                    to - from, target.begin() + static_cast<std::ptrdiff_t>(from - start));
      }
    }
    bytes_read += size;
    return size;
  }

  std::uint64_t bytes_read = 0;

 private:
  const std::string name_ = "dev";
  std::map<std::uint64_t, std::vector<std::byte>> pieces_;
  std::uint64_t size_ = 0;
};

}  // namespace capstan::media
