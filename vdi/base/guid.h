// Guid: 16 bytes that name a backup set, a media set or a device set.
//
// Bytes are kept in Windows order (first three groups little endian), as they stand on media
// (reference: MTF page, section 5.4), and printed as SQL Server prints a uniqueidentifier:
// "6F9619FF-8B86-D011-B42D-00C04FC964FF".
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "vdi/base/status.h"

namespace capstan {

struct Guid {
  std::array<std::uint8_t, 16> bytes{};

  // Random (version 4), from the kernel's generator.
  static Guid Random();
  // Accepts upper and lower case, with or without braces.
  static Result<Guid> Parse(std::string_view text);

  std::string ToString() const;
  bool is_zero() const { return *this == Guid{}; }

  friend auto operator<=>(const Guid&, const Guid&) = default;
};

}  // namespace capstan
