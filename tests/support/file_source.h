// A medium in a file, and how much of it is read.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/media/family_reader.h"
#include "vdi/base/check.h"
#include "vdi/base/unique_fd.h"

namespace capstan::test {

class FileSource final : public media::MediumSource {
 public:
  enum class Access { kRandom, kForward };

  explicit FileSource(std::string path, Access access = Access::kRandom)
      : name_(std::move(path)),
        file_(::open(name_.c_str(), O_RDONLY | O_CLOEXEC)),
        forward_(access == Access::kForward) {
    struct stat info {};
    CAPSTAN_CHECK(::fstat(file_.get(), &info) == 0);
    size_ = static_cast<std::uint64_t>(info.st_size);
  }

  const std::string& device_name() const override { return name_; }
  std::uint64_t size_bytes() const override { return forward_ ? 0 : size_; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    CAPSTAN_CHECK(!forward_ || offset >= position_);
    std::size_t filled = 0;
    while (filled < target.size()) {
      const ssize_t size = ::pread(file_.get(), target.data() + filled, target.size() - filled,
                                   static_cast<off_t>(offset + filled));
      if (size <= 0) {
        break;
      }
      filled += static_cast<std::size_t>(size);
    }
    position_ = offset + filled;
    bytes_read_ += filled;
    return filled;
  }

  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  const std::string name_;
  const UniqueFd file_;
  const bool forward_;
  std::uint64_t size_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t bytes_read_ = 0;
};

}  // namespace capstan::test
