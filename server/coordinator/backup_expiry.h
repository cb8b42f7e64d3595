// BackupExpiry: sp_expire_backups. What no kept backup needs goes: the catalog says so first, then
// the media are removed, so that a crash between the two leaves a medium that nobody counts on, and
// never the other way round. The next run removes what was left over.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/chain_media.h"
#include "server/engine/chain/retention.h"
#include "server/engine/engine.h"
#include "server/tsql/statement.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

class BackupExpiry {
 public:
  struct Parts {
    catalog::Catalog& catalog;
    ListMedium list;
    std::function<Status(const std::string& device_class, const std::string& target)> remove;
    std::function<bool(const std::string& thumbprint)> has_key;
  };
  // `session` has session id, user and statement.
  BackupExpiry(Parts parts, engine::TransferRequest session);

  struct Outcome {
    catalog::Table table;  // one row a backup set
    Status status;         // 65055 for the first medium that could not be removed
  };
  // `databases` empty: all of the history. 911 for a name that the history does not know.
  Result<Outcome> Run(const engine::RetentionPolicy& policy, std::vector<std::string> databases,
                      bool dry_run);

 private:
  using Medium = std::pair<std::string, std::string>;  // class, target

  Result<std::vector<std::string>> DatabasesOfHistory();
  Status Collect(const std::vector<std::string>& databases);
  // Why the set stays whatever the policy says; empty: nothing.
  static std::string Pinned(const catalog::KnownSet& known);
  // Decides, looks at the media of what goes, and decides again if they hold what nobody knows of.
  std::vector<engine::RetentionVerdict> Decide(const engine::RetentionPolicy& policy);
  // Why the medium cannot go; empty: it can.
  std::string ObstacleOf(const Medium& medium, const std::vector<Guid>& going);
  Status RemoveAll(const std::vector<Medium>& media);
  std::vector<Medium> LeftOver(const std::vector<std::string>& databases);

  Parts parts_;
  const engine::TransferRequest session_;
  ChainMedia media_;
  std::vector<catalog::KnownSet> sets_;     // not expired, of all databases
  std::vector<catalog::KnownSet> expired_;  // likewise
  std::vector<engine::RetentionCandidate> candidates_;
};

// sp_expire_backups, with the engine's catalog, devices and certificates.
Result<BackupExpiry::Outcome> ExpireBackups(engine::Engine& engine,
                                            const tsql::ExpireStatement& expire,
                                            engine::TransferRequest session,
                                            std::int64_t now_unix_s);

}  // namespace capstan::coordinator
