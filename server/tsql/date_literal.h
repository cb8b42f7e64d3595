// Dates as T-SQL takes them from a string, with us_english's order of day and month.
//
// Pure but for the time zone of this process. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace capstan::tsql {

// Seconds since 1970 of a date and time in the server's time zone; nullopt if the text is none:
//   2030-12-31, 20301231, 12/31/2030, 12-31-2030, 12.31.2030, Dec 31 2030, December 31, 2030,
//   31 Dec 2030, each with an optional time behind a blank or a T: 18:00, 18:00:30, 18:00:30.500,
//   6:00 PM, 6PM. Fractions of a second are left out. Years 1970 to 9999.
std::optional<std::int64_t> ParseDateLiteral(std::string_view text);

// The same as microseconds since 1970, with fractions of a second, and with a time zone if one ends
// the text: 2030-12-31 18:00:30.123456Z, 2030-12-31T18:00:30.5+02:00, 20301231 18:00 -0530.
std::optional<std::int64_t> ParseMoment(std::string_view text);

}  // namespace capstan::tsql
