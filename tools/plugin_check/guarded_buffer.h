// GuardedBuffer: memory for transfers that tells when somebody reaches out of it. A page that may
// not be touched lies in front and another behind the last byte; the whole can be taken away later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace capstan::plugin_check {

class GuardedBuffer {
 public:
  // What every buffer of this process is aligned to at least: a power of two of at most 64 KiB.
  static void Align(std::uint32_t alignment);

  explicit GuardedBuffer(std::size_t size);
  GuardedBuffer(GuardedBuffer&& other) noexcept;
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  ~GuardedBuffer();

  unsigned char* data() const { return data_; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(size_); }

  // Bytes that tell their position in the medium and the seed, so that nothing can be mistaken.
  void Fill(std::uint64_t position, unsigned seed);
  void Zero();
  // Empty, or where the first `count` bytes differ from what Fill writes.
  std::string Difference(std::uint64_t position, unsigned seed, std::size_t count) const;

  void ForbidWriting();   // a write to it ends the process from now on
  void ForbidTouching();  // any access does

 private:
  unsigned char* base_ = nullptr;
  std::size_t mapped_ = 0;
  unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace capstan::plugin_check
