// Guarded: the edge to a foreign program. Nothing is thrown across it.
#pragma once

#include <new>
#include <utility>

#include "vdi/sqlvdi/include/vdierror.h"

namespace capstan::sqlvdi {

// What `call` returns, or the VD_E_ value of what the standard library threw.
template <typename Call>
int Guarded(Call&& call) noexcept {
  try {
    return std::forward<Call>(call)();
  } catch (const std::bad_alloc&) {
    return VD_E_MEMORY;
  } catch (...) {
    return VD_E_UNEXPECTED;
  }
}

}  // namespace capstan::sqlvdi
