// Scripting variables: $(name) in a script becomes the variable's value.
//
// Threads: one.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "vdi/base/status.h"

namespace capstan::sqlcmd {

class Variables {
 public:
  // Looks up what neither -v nor :setvar has set.
  using Fallback = std::function<std::optional<std::string>(const char* name)>;

  Variables() = default;
  explicit Variables(Fallback environment) : environment_(std::move(environment)) {}

  // Names are compared without regard to case. kInvalidArgument: not letters, digits, '_' and '-'.
  Status Set(std::string_view name, std::string value);
  void Unset(std::string_view name);

  // -x: texts stay as they are.
  void Disable() { enabled_ = false; }

  // The text with its variables replaced; kNotFound names one that is not defined. A value is not
  // looked at again, so that it can hold "$(".
  Result<std::string> Expand(std::string_view text) const;

 private:
  std::optional<std::string> Find(std::string_view name) const;

  bool enabled_ = true;
  Fallback environment_;
  std::map<std::string, std::string> values_;  // by the name in small letters
};

}  // namespace capstan::sqlcmd
