// Numbers and texts as this writer's formats hold them: little endian, texts with a length in
// front.
//
// ByteReader never reads beyond its span: what does not fit makes it fail, it then gives zeros and
// empty texts, and the caller asks ok() once at the end. Plain values, no threads.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace capstan::writers {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

class ByteWriter {
 public:
  void Number(std::unsigned_integral auto value) { Append(&value, sizeof(value)); }
  // Up to 65535 bytes.
  void Text(std::string_view text) {
    Number(static_cast<std::uint16_t>(text.size()));
    Append(text.data(), text.size());
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  void Append(const void* source, std::size_t size) {
    const auto* const first = static_cast<const std::byte*>(source);
    bytes_.insert(bytes_.end(), first, first + size);
  }

  std::vector<std::byte> bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <std::unsigned_integral T>
  T Number() {
    T value{};
    const std::span<const std::byte> source = Take(sizeof(T));
    if (!source.empty()) {
      std::memcpy(&value, source.data(), sizeof(T));
    }
    return value;
  }
  std::string Text() {
    const std::span<const std::byte> source = Take(Number<std::uint16_t>());
    return {reinterpret_cast<const char*>(source.data()), source.size()};
  }

  // Nothing that was asked for was missing.
  bool ok() const { return ok_; }
  std::size_t rest_size() const { return rest_.size(); }

 private:
  std::span<const std::byte> Take(std::size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::span<const std::byte> taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace capstan::writers
