#include "vdi/base/crash_point.h"

#if defined(CAPSTAN_CRASH_POINTS)

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include <signal.h>
#include <unistd.h>

namespace capstan {
namespace {

struct Wanted {
  std::string_view name;
  int pass = 1;
};

Wanted ParseEnvironment() {
  const char* text = std::getenv("CAPSTAN_CRASH_AT");
  if (text == nullptr) {
    return {};
  }
  Wanted wanted{.name = text};
  if (const auto colon = wanted.name.find(':'); colon != std::string_view::npos) {
    const std::string_view number = wanted.name.substr(colon + 1);
    std::from_chars(number.data(), number.data() + number.size(), wanted.pass);
    wanted.name = wanted.name.substr(0, colon);
  }
  return wanted;
}

// Whether `wanted` is "name" or "name.kind".
bool Means(std::string_view wanted, std::string_view name, std::string_view kind) {
  if (!wanted.starts_with(name)) {
    return false;
  }
  wanted.remove_prefix(name.size());
  return wanted.empty() || (!kind.empty() && wanted.starts_with('.') && wanted.substr(1) == kind);
}

}  // namespace

void CrashPoint(std::string_view name, std::string_view kind) {
  // Each time: a test may set it in a child that was forked after its parent had passed points.
  const Wanted wanted = ParseEnvironment();
  static std::atomic<int> passes{0};
  if (Means(wanted.name, name, kind) && ++passes == wanted.pass) {
    ::kill(::getpid(), SIGKILL);
  }
}

}  // namespace capstan

#endif
