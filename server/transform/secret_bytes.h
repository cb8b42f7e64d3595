// SecretBytes: bytes that are wiped when they go: keys, passphrases, private keys on their way.
//
// Move only, so that there is one of them. Threads: as a vector.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace capstan::transform {

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size) : bytes_(size) {}
  explicit SecretBytes(std::span<const std::byte> bytes) : bytes_(bytes.begin(), bytes.end()) {}
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { Wipe(); }

  std::span<std::byte> span() { return bytes_; }
  std::span<const std::byte> span() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // As OpenSSL takes them.
  unsigned char* data() { return reinterpret_cast<unsigned char*>(bytes_.data()); }
  const unsigned char* data() const {
    return reinterpret_cast<const unsigned char*>(bytes_.data());
  }
  // Only ever makes it smaller; what falls off is wiped.
  void Shrink(std::size_t size);

 private:
  void Wipe();

  std::vector<std::byte> bytes_;
};

// The key of one backup set: 32 random bytes for AES-256.
inline constexpr std::size_t kSetKeySize = 32;
class SetKey {
 public:
  // REQUIRES: bytes.size() == kSetKeySize.
  explicit SetKey(SecretBytes bytes);

  std::span<const std::byte> bytes() const { return bytes_.span(); }
  const unsigned char* data() const { return bytes_.data(); }

 private:
  SecretBytes bytes_;
};

}  // namespace capstan::transform
