// RequesterService: the gRPC adapter of statements. Protobuf and gRPC types stop in the .cc.
//
// Threads: gRPC's, one per running batch, plus one of ours that notices requesters who have gone
// and cancels their jobs, as SQL Server cancels what a closed connection was running.
#pragma once

#include <memory>
#include <string>

#include "server/coordinator/statement_executor.h"
#include "server/engine/job.h"

namespace grpc {
class Service;
}

namespace capstan::coordinator {

class RequesterService {
 public:
  // Both must outlive the service.
  static std::unique_ptr<RequesterService> Create(StatementExecutor& executor,
                                                  engine::JobRegistry& jobs);
  virtual ~RequesterService() = default;

  // For ServerBuilder::RegisterService.
  virtual grpc::Service& service() = 0;

  // New batches are refused from here on.
  virtual void Stop() = 0;
};

}  // namespace capstan::coordinator
