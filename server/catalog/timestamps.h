// Points in time as msdb keeps them: the server's local time, to the millisecond, as text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace capstan::catalog {

// "2026-11-21 08:28:29.000" in the time zone of this process; nullopt for 0, which means "none".
std::optional<std::string> LocalDateTime(std::int64_t unix_s);

}  // namespace capstan::catalog
