#include "server/coordinator/server_options.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"

namespace capstan::coordinator {
namespace {

struct Option {
  std::string_view name;
  int id;  // sys.configurations.configuration_id
  std::int64_t min;
  std::int64_t max;
  bool advanced;
  std::string_view description;
};

// By name, which is also the order of OptionName.
constexpr std::array<Option, kOptionCount> kOptions = {{
    {"backup checksum default", 1584, 0, 1, false, "Enable checksum of backups by default"},
    {"backup compression algorithm", 1597, 0, 4, false,
     "Configure default backup compression algorithm: 0 or 3 ZSTD, 4 LZ4"},
    {"backup compression default", 1579, 0, 1, false, "Enable compression of backups by default"},
    {"media retention", 112, 0, 365, true, "Tape retention period in days"},
}};
static_assert(std::is_sorted(kOptions.begin(), kOptions.end(),
                             [](const Option& a, const Option& b) { return a.name < b.name; }));

constexpr auto kAlgorithm = static_cast<std::size_t>(OptionName::kBackupCompressionAlgorithm);

// 1 and 2 are the algorithms that only SQL Server has.
bool IsAllowed(std::size_t option, std::int64_t value) {
  const bool foreign = option == kAlgorithm && (value == 1 || value == 2);
  return value >= kOptions[option].min && value <= kOptions[option].max && !foreign;
}

// As sp_configure looks names up: the whole name, or a part that one option alone has.
Result<std::size_t> Find(std::string_view name) {
  const std::string wanted = tsql::ToLower(name);
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < kOptions.size(); ++i) {
    if (kOptions[i].name == wanted) {
      return i;
    }
    if (kOptions[i].name.find(wanted) != std::string_view::npos) {
      if (found.has_value()) {
        return SqlError(15124, name).WithHint("EXEC sp_configure lists the options");
      }
      found = i;
    }
  }
  if (!found.has_value()) {
    return SqlError(15123, name).WithHint("EXEC sp_configure lists the options");
  }
  return *found;
}

std::string Number(std::int64_t value) {
  return fmt::to_string(value);
}

}  // namespace

Result<std::unique_ptr<ServerOptions>> ServerOptions::Load(catalog::Catalog& catalog) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto stored, catalog.Options());
  std::unique_ptr<ServerOptions> options(new ServerOptions(catalog));
  const MutexLock lock(options->mutex_);
  for (std::size_t i = 0; i < kOptions.size(); ++i) {
    const auto value = stored.find(std::string(kOptions[i].name));
    if (value != stored.end() && IsAllowed(i, value->second)) {
      options->values_[i] = {value->second, value->second};
    }
  }
  return options;
}

std::int64_t ServerOptions::Value(OptionName option) const {
  const MutexLock lock(mutex_);
  return values_[static_cast<std::size_t>(option)].in_force;
}

Result<ServerOptions::Change> ServerOptions::Configure(std::string_view name, std::int64_t value) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t index, Find(name));
  const std::string option(kOptions[index].name);
  if (!IsAllowed(index, value)) {
    Status error = SqlError(15129, value, option);
    return index == kAlgorithm
               ? std::move(error).WithHint("0 and 3 are ZSTD, 4 is LZ4")
               : std::move(error).WithHint(fmt::format("values from {} to {} are allowed",
                                                       kOptions[index].min, kOptions[index].max));
  }
  const MutexLock lock(mutex_);
  CAPSTAN_RETURN_IF_ERROR(catalog_.SetOption(option, value));
  return Change{option, std::exchange(values_[index].configured, value), value};
}

void ServerOptions::Reconfigure() {
  const MutexLock lock(mutex_);
  for (Values& values : values_) {
    values.in_force = values.configured;
  }
}

Result<catalog::Table> ServerOptions::Shown(std::string_view name) const {
  std::span<const Option> shown(kOptions);
  if (!name.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t index, Find(name));
    shown = shown.subspan(index, 1);
  }
  catalog::Table table;
  table.columns = {{"name", "nvarchar(35)"},
                   {"minimum", "int"},
                   {"maximum", "int"},
                   {"config_value", "int"},
                   {"run_value", "int"}};
  const MutexLock lock(mutex_);
  for (const Option& option : shown) {
    const Values& values = values_[static_cast<std::size_t>(&option - kOptions.data())];
    table.rows.push_back({std::string(option.name), Number(option.min), Number(option.max),
                          Number(values.configured), Number(values.in_force)});
  }
  return table;
}

catalog::Table ServerOptions::Configurations() const {
  catalog::Table table;
  table.columns = {{"configuration_id", "int"},
                   {"name", "nvarchar(35)"},
                   {"value", "int"},
                   {"minimum", "int"},
                   {"maximum", "int"},
                   {"value_in_use", "int"},
                   {"description", "nvarchar(255)"},
                   {"is_dynamic", "bit"},
                   {"is_advanced", "bit"}};
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < kOptions.size(); ++i) {
    const Option& option = kOptions[i];
    table.rows.push_back({Number(option.id), std::string(option.name),
                          Number(values_[i].configured), Number(option.min), Number(option.max),
                          Number(values_[i].in_force), std::string(option.description), "1",
                          option.advanced ? "1" : "0"});
  }
  return table;
}

}  // namespace capstan::coordinator
