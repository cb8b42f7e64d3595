// The time of day. It may jump: for what is told to people and kept, not for waits (clock.h).
#pragma once

#include <chrono>
#include <cstdint>

namespace capstan {

// Microseconds since 1970 UTC.
inline std::int64_t UnixMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace capstan
