// CAPSTAN_CHECK: an assertion about our own code, compiled into every build. A failed check is a
// bug and ends the process; what a peer or a file may get wrong is a Status, never a check.
#pragma once

namespace capstan {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace capstan

#define CAPSTAN_CHECK(condition)                              \
  do {                                                        \
    if (!(condition)) [[unlikely]] {                          \
      ::capstan::CheckFailed(__FILE__, __LINE__, #condition); \
    }                                                         \
  } while (false)
