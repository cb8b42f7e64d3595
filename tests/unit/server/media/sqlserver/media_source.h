// Media in memory: whole ones, and ones of which a gap of zeros is not there.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "server/media/family_reader.h"
#include "tests/support/sqlserver_media.h"
#include "tests/support/status_matchers.h"

namespace capstan::media::sqlserver {

// Forward-only ones fail the test if they are asked to go back.
class TestSource final : public MediumSource {
 public:
  enum class Access { kRandom, kForward };

  explicit TestSource(const test::SparseMedium& medium, Access access = Access::kRandom)
      : medium_(medium), access_(access) {}

  const std::string& device_name() const override { return name_; }
  std::uint64_t size_bytes() const override {
    return access_ == Access::kRandom ? medium_.size() : 0;
  }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    if (access_ == Access::kForward) {
      EXPECT_GE(offset, position_);
    }
    const std::uint64_t start = std::min(offset, medium_.size());
    const std::size_t size = std::min<std::uint64_t>(target.size(), medium_.size() - start);
    std::fill_n(target.begin(), size, std::byte{0});
    for (std::size_t i = 0; i < size;) {
      const std::uint64_t at = start + i;
      const std::uint64_t gap_end = medium_.gap_offset + medium_.gap_bytes;
      if (at >= medium_.gap_offset && at < gap_end) {
        i += std::min<std::uint64_t>(size - i, gap_end - at);
        continue;
      }
      const std::uint64_t from = at < medium_.gap_offset ? at : at - medium_.gap_bytes;
      const std::uint64_t end = at < medium_.gap_offset ? medium_.gap_offset : medium_.bytes.size();
      const std::size_t run = std::min<std::uint64_t>(size - i, end - from);
      std::copy_n(medium_.bytes.begin() + static_cast<std::ptrdiff_t>(from), run,
                  target.begin() + static_cast<std::ptrdiff_t>(i));
      i += run;
    }
    position_ = start + size;
    bytes_read += size;
    return size;
  }

  std::uint64_t bytes_read = 0;

 private:
  const std::string name_ = "dev";
  const test::SparseMedium& medium_;
  const Access access_;
  std::uint64_t position_ = 0;
};

}  // namespace capstan::media::sqlserver
