// RequesterService: the gRPC adapter of statements. Protobuf and gRPC types stop in the .cc.
//
// Threads: gRPC's, one per running batch, plus one of ours that notices requesters who have gone
// and cancels their jobs, as SQL Server cancels what a closed connection was running.
#pragma once

#include <memory>
#include <string>

#include "server/coordinator/login_gate.h"
#include "server/coordinator/statement_executor.h"
#include "server/engine/job.h"

namespace grpc {
class Service;
}

namespace capstan::coordinator {

class RequesterService {
 public:
  struct Parts {
    StatementExecutor& executor;
    engine::JobRegistry& jobs;
    LoginGate& gate;
  };
  // The parts must outlive the service. `server_name` stands in its messages.
  static std::unique_ptr<RequesterService> Create(Parts parts, Entrance entrance,
                                                  std::string server_name);
  virtual ~RequesterService() = default;

  // For ServerBuilder::RegisterService.
  virtual grpc::Service& service() = 0;

  // New batches are refused from here on.
  virtual void Stop() = 0;
};

}  // namespace capstan::coordinator
