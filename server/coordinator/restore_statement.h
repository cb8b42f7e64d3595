// RestoreRun: one RESTORE DATABASE or RESTORE LOG, in all its forms: from devices, from the newest
// chain in files, from the catalog, without media; and what PLANONLY says of each.
//
// Threads: one.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/chain_media.h"
#include "server/coordinator/chain_restore.h"
#include "server/coordinator/drive_map.h"
#include "server/coordinator/statement_requests.h"
#include "server/engine/engine.h"
#include "server/tsql/statement.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

class RestoreRun {
 public:
  struct Parts {
    engine::Engine& engine;
    const DriveMap& drives;
    // Runs a job under the name of its command, with its record.
    std::function<Status(std::string_view command,
                         const std::function<Status(engine::JobObserver&)>& carry)>
        record;
    std::function<void(int number, const std::string& text)> message;
    std::function<void(const catalog::Table&)> result;
  };
  // The statement and what the session is outlive the run; `text` is the statement as written.
  RestoreRun(Parts parts, const tsql::RestoreStatement& statement, const Session& session,
             const std::string& text);

  Status Run();

 private:
  Result<engine::RestoreRequest> Request() const;
  Status FromDevices(engine::RestoreRequest request);
  Status ExplainDevices(const engine::RestoreRequest& request);
  // MOVE DATAFILES TO, MOVE LOGFILES TO.
  Status AddFolders(const media::BackupSet& set, engine::RestoreRequest* request) const;
  Status Chain(engine::RestoreRequest request);
  Status Recover(const engine::RestoreRequest& request);
  // The database that is restored; nullopt: there is none yet.
  Result<std::optional<catalog::Database>> FindTarget() const;
  std::string Source() const;  // whose backups are looked for
  Result<std::vector<catalog::KnownSet>> SetsOf(const engine::RestoreRequest& request) const;
  ChainMedia MediaFor(const engine::RestoreRequest& request) const;
  ListMedium Lister() const;
  ChainActions Actions() const;

  Parts parts_;
  const tsql::RestoreStatement& statement_;
  const Session& session_;
  const std::string& text_;
};

}  // namespace capstan::coordinator
