// Bytes, rates, times and bars as people read them, and sizes as people type them.
//
// Pure. Binary units throughout (1 KiB = 1024 bytes), as SQL Server counts its megabytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vdi/base/status.h"

namespace capstan::cli {

// "512 B", "1.5 KiB", "2.0 GiB".
std::string FormatBytes(std::uint64_t bytes);

// "640.0 MiB/s".
std::string FormatRate(std::uint64_t bytes_per_second);

// "0.372 s" below a minute, then "2:05" (minutes:seconds), then "1:02:05".
std::string FormatDuration(std::uint64_t milliseconds);

// A bar of `width` cells, "#####-----"; `fraction` outside 0..1 and NaN are clamped.
std::string FormatBar(double fraction, int width);

// "65536", "64K", "1M", "4 MiB", "1mb" -> bytes. kInvalidArgument for anything else.
Result<std::uint64_t> ParseSize(std::string_view text);

}  // namespace capstan::cli
