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

}  // namespace

void CrashPoint(const char* name) {
  static const Wanted wanted = ParseEnvironment();
  static std::atomic<int> passes{0};
  if (wanted.name == name && ++passes == wanted.pass) {
    ::kill(::getpid(), SIGKILL);
  }
}

}  // namespace capstan

#endif
