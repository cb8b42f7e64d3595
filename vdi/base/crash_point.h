// CAPSTAN_CRASH_POINT("area.event"): a named place where a test may kill the process.
//
// When the environment variable CAPSTAN_CRASH_AT holds the name (or "name:n" for the n-th pass,
// from 1), the process ends there with SIGKILL, exactly as a power cut would end it. Absent unless
// the build sets CAPSTAN_CRASH_POINTS, which a release never does.
#pragma once

#if defined(CAPSTAN_CRASH_POINTS)
namespace capstan {
void CrashPoint(const char* name);
}
#define CAPSTAN_CRASH_POINT(name) ::capstan::CrashPoint(name)
#else
#define CAPSTAN_CRASH_POINT(name) \
  do {                            \
  } while (false)
#endif
