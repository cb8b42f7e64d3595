// ServerOptions: what sp_configure shows and sets.
//
// An option has two values, as in SQL Server: what was configured, kept in the catalog, and what is
// in force, which follows with RECONFIGURE and with every start. Threads: any.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

enum class OptionName {
  kBackupChecksumDefault,
  kBackupCompressionAlgorithm,
  kBackupCompressionDefault,
  kMediaRetention,
};
inline constexpr std::size_t kOptionCount = 4;

class ServerOptions {
 public:
  // Reads what was set before; a value that is not possible any more counts as never set. `catalog`
  // must outlive the options.
  static Result<std::unique_ptr<ServerOptions>> Load(catalog::Catalog& catalog);

  // The value in force.
  std::int64_t Value(OptionName option) const CAPSTAN_EXCLUDES(mutex_);

  struct Change {
    std::string name;
    std::int64_t before = 0;  // configured value
    std::int64_t after = 0;
  };
  // Configures an option. `name` may be a part that only one option has. 15123 if none has it,
  // 15124 if several have, 15129 for a value that is not allowed.
  Result<Change> Configure(std::string_view name, std::int64_t value) CAPSTAN_EXCLUDES(mutex_);
  // Brings into force what is configured.
  void Reconfigure() CAPSTAN_EXCLUDES(mutex_);

  // What sp_configure shows: all options by name, or the one that `name` means.
  Result<catalog::Table> Shown(std::string_view name) const CAPSTAN_EXCLUDES(mutex_);
  // sys.configurations
  catalog::Table Configurations() const CAPSTAN_EXCLUDES(mutex_);

 private:
  struct Values {
    std::int64_t configured = 0;
    std::int64_t in_force = 0;
  };

  explicit ServerOptions(catalog::Catalog& catalog) : catalog_(catalog) {}

  catalog::Catalog& catalog_;
  mutable Mutex mutex_;
  std::array<Values, kOptionCount> values_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::coordinator
