// CAPSTAN_CRASH_POINT("area.event"): a named place where a test may kill the process.
// CAPSTAN_CRASH_POINT_OF("area.event", kind): one place that is passed for several kinds of things;
// its full name is "area.event.Kind".
//
// When the environment variable CAPSTAN_CRASH_AT holds the name (or "name:n" for the n-th pass,
// from 1), the process ends there with SIGKILL, exactly as a power cut would end it. The name
// without its kind means every kind. Absent unless the build sets CAPSTAN_CRASH_POINTS, which a
// release never does; `kind` is not even evaluated then.
#pragma once

#if defined(CAPSTAN_CRASH_POINTS)
#include <string_view>

namespace capstan {
void CrashPoint(std::string_view name, std::string_view kind);
}
#define CAPSTAN_CRASH_POINT(name) ::capstan::CrashPoint(name, "")
#define CAPSTAN_CRASH_POINT_OF(name, kind) ::capstan::CrashPoint(name, kind)
#else
#define CAPSTAN_CRASH_POINT(name) \
  do {                            \
  } while (false)
#define CAPSTAN_CRASH_POINT_OF(name, kind) \
  do {                                     \
    static_cast<void>(sizeof(kind));       \
  } while (false)
#endif
