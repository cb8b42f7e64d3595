#include "plugins/edge/edge.h"

#include <cstdio>
#include <string>

namespace capstan::edge {

Failure Edge::CheckOpen(const capstan_open_params& params) const {
  if (params.struct_size < sizeof(capstan_open_params)) {
    return Failure::Of(EINVAL, std::string("the agent is older than the ") + plugin + " plugin");
  }
  if (params.mode < CAPSTAN_OPEN_READ || params.mode > CAPSTAN_OPEN_APPEND) {
    return Failure::Of(EINVAL, "unknown open mode " + std::to_string(params.mode));
  }
  if ((params.flags & ~open_flags) != 0) {
    return Failure::Of(EINVAL, "unknown open flags " + std::to_string(params.flags));
  }
  const bool begins = params.mode == CAPSTAN_OPEN_REPLACE || params.mode == CAPSTAN_OPEN_CREATE;
  if ((params.flags & CAPSTAN_OPEN_RESUME) != 0 && !begins) {
    return Failure::Of(EINVAL, "only a new medium can be gone on with, not one of open mode " +
                                   std::to_string(params.mode));
  }
  return Failure::None();
}

void Edge::FillExhausted(int os_error, capstan_error* error) const noexcept {
  const bool memory = os_error == ENOMEM;
  const bool may_pass = memory ? memory_may_come : resources_may_come;
  FillError(Failure::None(), error);
  error->os_error = os_error;
  error->flags = may_pass ? CAPSTAN_ERROR_TRANSIENT : 0;
  std::snprintf(error->message, sizeof(error->message), "the %s plugin %s", plugin,
                memory ? "is out of memory" : "lacks resources of the system");
}

}  // namespace capstan::edge
