#include "tools/sqlcmd/variables.h"

#include <algorithm>

namespace capstan::sqlcmd {
namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

bool IsName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), IsNameCharacter);
}

std::string Lower(std::string_view name) {
  std::string result(name);
  for (char& c : result) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return result;
}

}  // namespace

Status Variables::Set(std::string_view name, std::string value) {
  if (!IsName(name)) {
    return Error(Code::kInvalidArgument, "'{}' is not the name of a variable", name);
  }
  values_[Lower(name)] = std::move(value);
  return OkStatus();
}

void Variables::Unset(std::string_view name) {
  values_.erase(Lower(name));
}

std::optional<std::string> Variables::Find(std::string_view name) const {
  if (const auto found = values_.find(Lower(name)); found != values_.end()) {
    return found->second;
  }
  return environment_ ? environment_(std::string(name).c_str()) : std::nullopt;
}

Result<std::string> Variables::Expand(std::string_view text) const {
  std::string result;
  while (enabled_) {
    const std::size_t begin = text.find("$(");
    if (begin == std::string_view::npos) {
      break;
    }
    const std::size_t end = text.find(')', begin);
    const std::string_view name =
        end == std::string_view::npos ? "" : text.substr(begin + 2, end - begin - 2);
    if (!IsName(name)) {  // "$(" of something else
      result += text.substr(0, begin + 2);
      text.remove_prefix(begin + 2);
      continue;
    }
    const std::optional<std::string> value = Find(name);
    if (!value.has_value()) {
      return Error(Code::kNotFound, "'{}' scripting variable not defined.", name);
    }
    result += text.substr(0, begin);
    result += *value;
    text.remove_prefix(end + 1);
  }
  return result + std::string(text);
}

}  // namespace capstan::sqlcmd
