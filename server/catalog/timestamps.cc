#include "server/catalog/timestamps.h"

#include <array>
#include <ctime>

#include <time.h>

namespace capstan::catalog {

std::optional<std::string> LocalDateTime(std::int64_t unix_s) {
  if (unix_s == 0) {
    return std::nullopt;
  }
  const std::time_t time = unix_s;
  std::tm local{};
  if (::localtime_r(&time, &local) == nullptr) {
    return std::nullopt;  // a year that does not fit an int: no such date can be shown
  }
  std::array<char, 64> text;
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S.000", &local);
  return std::string(text.data(), size);
}

}  // namespace capstan::catalog
