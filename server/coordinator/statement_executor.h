// StatementExecutor: runs the statements of a batch against engine and catalog, and says what
// happened in SQL Server's words. Knows nothing of gRPC.
//
// Threads: any; one batch runs on the thread that calls.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/credential_store.h"
#include "server/coordinator/drive_map.h"
#include "server/coordinator/job_counters.h"
#include "server/coordinator/live_tables.h"
#include "server/coordinator/login_store.h"
#include "server/coordinator/server_options.h"
#include "server/coordinator/statement_requests.h"
#include "server/engine/engine.h"
#include "server/transform/certificate_store.h"

namespace capstan::coordinator {

// A message as the requester sees it.
struct StatementMessage {
  int number = 0;
  int severity = 0;
  int state = 1;
  int line = 1;
  std::string text;
  std::string hint;
};

// Where a batch's answers go; called on the batch's thread, in order.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  virtual void OnMessage(const StatementMessage& message) = 0;
  virtual void OnResultSet(const catalog::Table& table) = 0;
  virtual void OnProgress(const engine::JobSnapshot& snapshot) = 0;
  // True once nobody listens any more: the batch stops before its next statement.
  virtual bool gone() const = 0;
};

class StatementExecutor {
 public:
  struct Parts {
    engine::Engine& engine;
    const LiveTables& live_tables;
    LoginStore& logins;
    ServerOptions& options;
    transform::CertificateStore& certificates;
    const DriveMap& drives;
    CredentialStore& credentials;
    JobCounters& counters;
    std::vector<std::string> discovery_folders = {};  // where sp_discover_databases looks by itself
  };
  explicit StatementExecutor(Parts parts) : parts_(parts) {}

  // Sessions of users begin at 51, as in SQL Server.
  int NewSessionId() { return next_session_id_.fetch_add(1, std::memory_order_relaxed); }

  // False if a statement failed; the batch ends there.
  bool ExecuteBatch(std::string_view batch, const Session& session, ResponseSink& sink);

 private:
  class Run;

  Parts parts_;
  std::atomic<int> next_session_id_{51};
};

}  // namespace capstan::coordinator
