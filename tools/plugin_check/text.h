// What is asked of texts that a plugin hands out.
#pragma once

#include <string_view>

namespace capstan::plugin_check {

// Well-formed, and without control characters.
bool IsUtf8(std::string_view text);

}  // namespace capstan::plugin_check
