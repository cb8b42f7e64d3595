// What the environment tells the library: where the server listens, which unit timeouts have, where
// diagnostics go.
//
// A program that runs with more rights than its user (setuid, file capabilities) gets the defaults:
// its user must not choose what it writes to.
#pragma once

#include <functional>
#include <string>

#include "vdi/sqlvdi/timeouts.h"

namespace capstan::sqlvdi {

inline constexpr const char* kDefaultRendezvousPath = "/run/capstan/vdi.sock";

struct Settings {
  std::string rendezvous_path = kDefaultRendezvousPath;   // CAPSTAN_VDI
  TimeoutUnit timeout_unit = TimeoutUnit::kAsDocumented;  // CAPSTAN_VDI_TIMEOUT_UNIT
  enum class Diagnostics { kOff, kStandardError, kFile } diagnostics = Diagnostics::kOff;
  std::string diagnostics_file;  // CAPSTAN_VDI_DIAGNOSTICS
  std::string complaint;         // about a value that means nothing and is ignored; or empty

  // `lookup` returns a variable's value or null.
  static Settings From(const std::function<const char*(const char* name)>& lookup);
  static Settings FromEnvironment();
};

}  // namespace capstan::sqlvdi
