#include "server/catalog/query_error.h"

#include <array>
#include <optional>

#include "server/messages/messages.h"

namespace capstan::catalog {
namespace {

// "sys." and "msdb.dbo." as they stand in translated names.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kSchemas = {{
    {"msdb_dbo_", "msdb.dbo."},
    {"msdb__", "msdb.."},
    {"sys_", "sys."},
}};

struct Pattern {
  std::string_view before;
  std::string_view after;
  int number;
};

constexpr std::array<Pattern, 6> kPatterns = {{
    {"no such table: ", "", 208},
    {"no such column: ", "", 207},
    {"ambiguous column name: ", "", 209},
    {"no such function: ", "", 195},
    {"near \"", "\": syntax error", 102},
    {"unrecognized token: \"", "\"", 102},
}};

std::optional<std::string_view> Between(std::string_view text, const Pattern& pattern) {
  if (!text.starts_with(pattern.before) || !text.ends_with(pattern.after) ||
      text.size() < pattern.before.size() + pattern.after.size()) {
    return std::nullopt;
  }
  text.remove_prefix(pattern.before.size());
  text.remove_suffix(pattern.after.size());
  return text;
}

}  // namespace

std::string RequesterTableName(std::string_view name) {
  if (name.starts_with("main.")) {
    name.remove_prefix(5);
  }
  for (const auto& [translated, written] : kSchemas) {
    if (name.starts_with(translated)) {
      return std::string(written) + std::string(name.substr(translated.size()));
    }
  }
  return std::string(name);
}

Status PrepareError(std::string_view sqlite_message) {
  for (const Pattern& pattern : kPatterns) {
    if (const auto name = Between(sqlite_message, pattern)) {
      switch (pattern.number) {
        case 195:
          return SqlError(195, *name, "built-in function name");
        case 208:
          return SqlError(208, RequesterTableName(*name));
        default:
          return SqlError(pattern.number, *name);
      }
    }
  }
  return Error(Code::kInvalidArgument, "the query cannot be run: {}", sqlite_message);
}

}  // namespace capstan::catalog
