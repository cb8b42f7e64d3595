// What a timeout of the classic interface means. Pure.
//
// Its documents contradict each other on the unit, so we choose the reading that no program is hurt
// by. GetCommand: seconds; a program that means milliseconds merely waits longer, and an abort or
// the server's death ends every wait anyhow. GetConfiguration: milliseconds from 1000 on, seconds
// below; nobody waits 16 minutes for a configuration, and 60 is a minute.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string_view>

#include "vdi/base/clock.h"

namespace capstan::sqlvdi {

enum class TimeoutUnit { kAsDocumented, kSeconds, kMilliseconds };

// "s" or "ms".
std::optional<TimeoutUnit> ParseTimeoutUnit(std::string_view text);

inline constexpr std::int64_t kForeverMs = -1;

// Milliseconds, 0 = do not wait, or kForeverMs.
std::int64_t CommandTimeoutMs(std::time_t timeout, TimeoutUnit unit);
std::int64_t ConfigurationTimeoutMs(std::time_t timeout, TimeoutUnit unit);

// Never() is safe here: an abort, the engine's death and Close end all waits of a client.
Deadline DeadlineAfterMs(std::int64_t timeout_ms);

}  // namespace capstan::sqlvdi
