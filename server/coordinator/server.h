// Server: everything of one capstand, wired together: catalog, writers, rendezvous, engine,
// services, agents. Construction order is dependency order; Stop undoes it.
//
// Threads: Start and Stop from one thread. Owns the thread that settles interrupted jobs.
#pragma once

#include <memory>

#include "server/coordinator/config.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

class Server {
 public:
  // Opens what is on disk, listens, starts the agents. On failure nothing keeps running.
  static Result<std::unique_ptr<Server>> Start(const ServerConfig& config);
  virtual ~Server() = default;  // as Stop

  // Cancels running jobs (their requesters are told), stops agents, closes the sockets. Idempotent.
  virtual void Stop() = 0;
};

}  // namespace capstan::coordinator
