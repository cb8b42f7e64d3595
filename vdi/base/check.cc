#include "vdi/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace capstan {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "F %s:%d check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace capstan
