#include "vdi/base/guid.h"

#include <algorithm>

#include <sys/random.h>

namespace capstan {
namespace {

// Position in `bytes` of each pair of hex digits, in the order in which the text shows them.
constexpr std::array<std::size_t, 16> kTextOrder = {3, 2, 1,  0,  5,  4,  7,  6,
                                                    8, 9, 10, 11, 12, 13, 14, 15};

constexpr bool DashBefore(std::size_t pair) {
  return pair == 4 || pair == 6 || pair == 8 || pair == 10;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Guid Guid::Random() {
  Guid guid;
  // Requests of up to 256 bytes are neither interrupted nor cut short (getrandom(2)).
  CAPSTAN_CHECK(::getrandom(guid.bytes.data(), guid.bytes.size(), 0) == 16);
  guid.bytes[7] = static_cast<std::uint8_t>((guid.bytes[7] & 0x0F) | 0x40);
  guid.bytes[8] = static_cast<std::uint8_t>((guid.bytes[8] & 0x3F) | 0x80);
  return guid;
}

Result<Guid> Guid::Parse(std::string_view text) {
  std::string_view rest = text;
  if (rest.size() == 38 && rest.front() == '{' && rest.back() == '}') {
    rest = rest.substr(1, 36);
  }
  if (rest.size() != 36) {
    return Error(Code::kInvalidArgument, "'{}' is not a GUID", text);
  }
  Guid guid;
  std::size_t at = 0;
  for (std::size_t pair = 0; pair < kTextOrder.size(); ++pair) {
    if (DashBefore(pair) && rest[at++] != '-') {
      return Error(Code::kInvalidArgument, "'{}' is not a GUID", text);
    }
    const int high = HexDigit(rest[at++]);
    const int low = HexDigit(rest[at++]);
    if (high < 0 || low < 0) {
      return Error(Code::kInvalidArgument, "'{}' is not a GUID", text);
    }
    guid.bytes[kTextOrder[pair]] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return guid;
}

std::string Guid::ToString() const {
  std::string text;
  text.reserve(36);
  for (std::size_t pair = 0; pair < kTextOrder.size(); ++pair) {
    if (DashBefore(pair)) {
      text.push_back('-');
    }
    text += fmt::format("{:02X}", bytes[kTextOrder[pair]]);
  }
  return text;
}

}  // namespace capstan
