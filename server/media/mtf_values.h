// The small encodings of Microsoft Tape Format: checksums, dates, strings, and structures as bytes.
// No allocation but for strings. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "server/media/mtf_layout.h"

namespace capstan::media {

using Bytes = std::span<const std::byte>;

// REQUIRES: bytes.size() >= sizeof(T).
template <typename T>
T LoadStruct(Bytes bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <typename T>
Bytes AsBytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

constexpr std::uint64_t RoundUp(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// XOR of the 16-bit words of `bytes`, whose size must be even.
std::uint16_t XorChecksum(Bytes bytes);

// Of a block header or stream header: what its checksum field should be.
template <typename Header>
std::uint16_t HeaderChecksum(const Header& header) {
  return XorChecksum(AsBytes(header).first(sizeof(Header) - sizeof(std::uint16_t)));
}
// A right checksum and not all zero, which has one too.
template <typename Header>
bool HeaderIsSound(const Header& header) {
  return header.checksum == HeaderChecksum(header) && static_cast<std::uint32_t>(header.type) != 0;
}

// Local time of a zone that is `zone` quarter hours ahead of UTC (kTimeZoneUnset counts as UTC).
// 0 stands for "unknown" in both directions, as does a date that cannot be.
MtfDate PackDate(std::int64_t unix_s, std::int8_t zone);
std::int64_t UnpackDate(const MtfDate& date, std::int8_t zone);
// "2011-09-17 13:29:56.000", as it stands there; nothing if it is unknown or cannot be.
std::optional<std::string> LocalDateText(const MtfDate& date);

// UTF-8 to UTF-16; what is not UTF-8 becomes U+FFFD.
std::u16string ToUtf16(std::string_view utf8);
// UTF-16LE bytes to UTF-8 up to the terminators; lone surrogates become U+FFFD.
std::string FromUtf16(Bytes utf16);
// A string of a block: UTF-16LE (type 2) or single bytes (type 1); empty for any other type or if
// `address` points outside `block`.
std::string BlockString(Bytes block, TapeAddress address, std::uint8_t string_type);

bool AllZero(Bytes bytes);

}  // namespace capstan::media
