#include "tools/plugin_check/text.h"

#include <cstddef>

namespace capstan::plugin_check {

bool IsUtf8(std::string_view text) {
  for (std::size_t index = 0; index < text.size(); ++index) {
    const auto lead = static_cast<unsigned char>(text[index]);
    if (lead < 0x80) {
      if (lead < 0x20 || lead == 0x7F) {
        return false;
      }
      continue;
    }
    const std::size_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC2 ? 1 : 0;
    if (more == 0 || lead > 0xF4 || index + more >= text.size()) {
      return false;
    }
    for (std::size_t follower = 1; follower <= more; ++follower) {
      if ((static_cast<unsigned char>(text[index + follower]) & 0xC0U) != 0x80) {
        return false;
      }
    }
    index += more;
  }
  return true;
}

}  // namespace capstan::plugin_check
