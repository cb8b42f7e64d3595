#include "vdi/sqlvdi/settings.h"

#include <cstdlib>
#include <string_view>

#include <fmt/core.h>

namespace capstan::sqlvdi {
namespace {

// "unix:PATH" or "PATH", as the command line's --server has it.
std::string PathOf(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) {
    text.remove_prefix(kUnix.size());
    if (text.starts_with("///")) {
      text.remove_prefix(2);
    }
  }
  return std::string(text);
}

}  // namespace

Settings Settings::From(const std::function<const char*(const char* name)>& lookup) {
  const auto value_of = [&lookup](const char* name) {
    const char* value = lookup(name);
    return std::string(value != nullptr ? value : "");
  };
  Settings settings;
  if (const std::string path = PathOf(value_of("CAPSTAN_VDI")); !path.empty()) {
    settings.rendezvous_path = path;
  }
  if (const std::string text = value_of("CAPSTAN_VDI_TIMEOUT_UNIT"); !text.empty()) {
    if (const auto unit = ParseTimeoutUnit(text)) {
      settings.timeout_unit = *unit;
    } else {
      settings.complaint =
          fmt::format("CAPSTAN_VDI_TIMEOUT_UNIT is '{}', neither s nor ms, and is ignored", text);
    }
  }
  const std::string diagnostics = value_of("CAPSTAN_VDI_DIAGNOSTICS");
  if (diagnostics == "1") {
    settings.diagnostics = Diagnostics::kStandardError;
  } else if (!diagnostics.empty() && diagnostics != "0") {
    settings.diagnostics = Diagnostics::kFile;
    settings.diagnostics_file = diagnostics;
  }
  return settings;
}

Settings Settings::FromEnvironment() {
  return From([](const char* name) { return ::secure_getenv(name); });
}

}  // namespace capstan::sqlvdi
