// CoordinatorService: the gRPC adapter of agents. Protobuf and gRPC types stop in the .cc.
//
// Threads: gRPC's, one per attached agent, plus one of ours that ends streams whose agent does not
// say who it is.
#pragma once

#include <memory>
#include <string>

#include "server/coordinator/agent_directory.h"

namespace grpc {
class Service;
}

namespace capstan::coordinator {

class CoordinatorService {
 public:
  // The directory must outlive the service. `rendezvous_path` is what agents are told.
  static std::unique_ptr<CoordinatorService> Create(AgentDirectory& agents,
                                                    std::string rendezvous_path);
  virtual ~CoordinatorService() = default;

  // For ServerBuilder::RegisterService.
  virtual grpc::Service& service() = 0;

  // Refuses new agents, closes the directory and ends every stream, so that the gRPC server can
  // shut down without waiting for agents. Idempotent.
  virtual void Stop() = 0;
};

}  // namespace capstan::coordinator
