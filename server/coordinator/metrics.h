// Metrics: what the server knows of itself, as Prometheus reads it. Everything is taken when it is
// asked for, from those who know: jobs, agents, writers, the process. The figures of agents come
// with their reports, so that one port shows everything.
//
// Names, units and types: README.md. Threads: any.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/coordinator/agent_directory.h"
#include "server/coordinator/agent_supervisor.h"
#include "server/coordinator/job_counters.h"
#include "server/engine/job.h"
#include "server/writers/database_writer.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

struct MetricsSources {
  const JobCounters& counters;
  const engine::JobRegistry& jobs;
  const AgentDirectory& agents;
  const AgentSupervisor* supervisor;  // null: the server starts no agents
  std::vector<writers::DatabaseWriter*> writers;
};

// Answers GET /metrics at one address for as long as it lives. Owns the threads that do.
class MetricsEndpoint {
 public:
  // `address` is "127.0.0.1:9464". All sources must outlive the endpoint. kUnavailable: the address
  // cannot be listened on.
  static Result<std::unique_ptr<MetricsEndpoint>> Listen(const std::string& address,
                                                         const MetricsSources& sources);
  virtual ~MetricsEndpoint() = default;
};

}  // namespace capstan::coordinator
