// The sys.* tables whose rows exist only now: running requests, devices, agents, writers, sets.
//
// Threads: any.
#pragma once

#include <string>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/agent_directory.h"
#include "server/coordinator/agent_supervisor.h"
#include "server/coordinator/login_store.h"
#include "server/coordinator/server_options.h"
#include "server/engine/engine.h"
#include "server/engine/job.h"
#include "server/transform/certificate_store.h"
#include "server/writers/database_writer.h"
#include "vdi/base/status.h"
#include "vdi/rendezvous.h"

namespace capstan::coordinator {

class LiveTables {
 public:
  struct Sources {
    const engine::JobRegistry& jobs;
    catalog::Catalog& catalog;
    const AgentDirectory& agents;
    const AgentSupervisor* supervisor;  // null: the server starts no agents
    const vdi::Rendezvous& rendezvous;
    std::vector<writers::DatabaseWriter*> writers;
    const LoginStore& logins;
    const ServerOptions& options;
    const transform::CertificateStore& certificates;
    std::string server_name;
  };
  // All sources must outlive the tables.
  explicit LiveTables(Sources sources) : sources_(std::move(sources)) {}

  // `name` is one that tsql's translator knows, such as "sys.dm_exec_requests". 208 otherwise.
  Result<catalog::LiveTable> Snapshot(const std::string& name) const;

 private:
  catalog::Table Requests() const;
  catalog::Table Devices() const;
  catalog::Table Agents() const;
  catalog::Table Writers() const;
  catalog::Table DeviceSets() const;
  catalog::Table Logins() const;

  Sources sources_;
};

}  // namespace capstan::coordinator
