#include "tools/capstan/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace capstan::cli {
namespace {

constexpr std::array<std::string_view, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

// The power of 1024 that a suffix names, or -1.
int PowerOfSuffix(std::string_view suffix) {
  std::string upper(suffix);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  constexpr std::string_view kLetters = "BKMGT";
  if (upper.empty()) {
    return 0;
  }
  const std::size_t power = kLetters.find(upper[0]);
  const std::string_view rest = std::string_view(upper).substr(1);
  const bool plain_byte = power == 0 && !rest.empty();
  if (power == std::string_view::npos || plain_byte) {
    return -1;
  }
  return rest.empty() || rest == "B" || rest == "IB" ? static_cast<int>(power) : -1;
}

}  // namespace

std::string FormatBytes(std::uint64_t bytes) {
  if (bytes < 1024) {
    return fmt::format("{} B", bytes);
  }
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // Compared after rounding to one decimal, so that 1023.96 KiB becomes 1.0 MiB, never 1024.0 KiB.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string FormatRate(std::uint64_t bytes_per_second) {
  return FormatBytes(bytes_per_second) + "/s";
}

std::string FormatDuration(std::uint64_t milliseconds) {
  const std::uint64_t seconds = milliseconds / 1000;
  if (seconds < 60) {
    return fmt::format("{}.{:03} s", seconds, milliseconds % 1000);
  }
  if (seconds < 3600) {
    return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
  }
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string FormatBar(double fraction, int width) {
  const std::size_t cells = static_cast<std::size_t>(std::max(width, 0));
  const double clamped = std::isnan(fraction) ? 0.0 : std::clamp(fraction, 0.0, 1.0);
  // Rounded down: a full bar means that all of it is done.
  const std::size_t filled = static_cast<std::size_t>(clamped * static_cast<double>(cells));
  return std::string(filled, '#') + std::string(cells - filled, '-');
}

Result<std::uint64_t> ParseSize(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::size_t digits = static_cast<std::size_t>(end - text.data());
  std::string_view suffix = text.substr(digits);
  while (!suffix.empty() && suffix.front() == ' ') {
    suffix.remove_prefix(1);
  }
  const int power = PowerOfSuffix(suffix);
  if (error != std::errc() || power < 0) {
    return Error(Code::kInvalidArgument, "'{}' is not a size; write bytes, or 64K, 1M, 2G", text);
  }
  const std::uint64_t factor = std::uint64_t{1} << (10 * power);
  if (number > std::numeric_limits<std::uint64_t>::max() / factor) {
    return Error(Code::kInvalidArgument, "size '{}' is out of range", text);
  }
  return number * factor;
}

}  // namespace capstan::cli
