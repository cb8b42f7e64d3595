#include "server/coordinator/several_databases.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fnmatch.h>

namespace capstan::coordinator {
namespace {

bool IsPattern(const std::string& name) {
  return name.find_first_of("*?") != std::string::npos;
}

bool Matches(const std::string& pattern, const std::string& name) {
  return IsPattern(pattern) ? ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0 : pattern == name;
}

std::string LocalStamp(std::int64_t unix_s) {
  const std::time_t time = unix_s;
  std::tm local{};
  ::localtime_r(&time, &local);
  return fmt::format("{:%Y%m%d%H%M%S}", local);
}

// `tag` with its brackets, in lower case.
std::string Replaced(std::string text, std::string_view tag, std::string_view value) {
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  std::size_t from = 0;
  while (true) {
    const auto found = std::search(text.begin() + static_cast<std::ptrdiff_t>(from), text.end(),
                                   tag.begin(), tag.end(), same);
    if (found == text.end()) {
      return text;
    }
    const auto at = static_cast<std::size_t>(found - text.begin());
    text.replace(at, tag.size(), value);
    from = at + value.size();
  }
}

}  // namespace

std::vector<ChosenDatabase> ChooseDatabases(const tsql::BackupStatement& backup,
                                            std::span<const std::string> known) {
  std::vector<ChosenDatabase> chosen;
  for (const std::string& name : known) {
    const auto speaks_of = [&](const std::string& each) { return Matches(each, name); };
    const auto& names = backup.databases;
    if (std::any_of(names.begin(), names.end(), speaks_of) != backup.exclude) {
      const bool by_name = std::find(names.begin(), names.end(), name) != names.end();
      chosen.push_back({.name = name, .by_pattern = backup.exclude || !by_name});
    }
  }
  for (const std::string& name : backup.databases) {
    const bool unknown = std::find(known.begin(), known.end(), name) == known.end();
    if (!backup.exclude && unknown && !IsPattern(name)) {
      chosen.push_back({.name = name});
    }
  }
  return chosen;
}

tsql::BackupStatement StatementFor(const tsql::BackupStatement& several,
                                   const std::string& database, const BackupTags& tags) {
  tsql::BackupStatement one = several;
  one.database = database;
  one.databases.clear();
  const std::string_view type = several.log ? "LOG" : several.differential ? "DIFF" : "FULL";
  bool shared = false;
  const auto expand = [&](std::vector<tsql::DeviceClause>& devices) {
    for (tsql::DeviceClause& device : devices) {
      std::string name = Replaced(device.name, "<database>", database);
      shared = shared || name == device.name;
      name = Replaced(std::move(name), "<type>", type);
      name = Replaced(std::move(name), "<server>", tags.server);
      device.name = Replaced(std::move(name), "<datetime>", LocalStamp(tags.unix_s));
    }
  };
  expand(one.devices);
  for (std::vector<tsql::DeviceClause>& mirror : one.mirrors) {
    expand(mirror);
  }
  if (shared && !tags.first) {
    one.init = false;
    one.format = false;
  }
  return one;
}

}  // namespace capstan::coordinator
