// CoordinatorClient: the agent's end of the stream to the server
// (proto/capstan/v1/coordinator.proto).
//
// Attaches, says Hello, hands each Order to the Agent on a thread of its own, sends the results and
// a report every second, and comes back with a growing, jittered delay when the stream breaks. The
// one file of the agent that knows gRPC. Threads: Run on one, Stop from any.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "agent/agent.h"
#include "vdi/base/status.h"

namespace capstan::agent {

struct CoordinatorClientOptions {
  std::string server;      // "unix:/run/capstan/capstand.sock"
  std::string agent_name;  // unique per server
  std::string agent_version;
  std::chrono::milliseconds report_interval{1000};
  std::chrono::milliseconds backoff_min{100};
  std::chrono::milliseconds backoff_max{5000};
};

class CoordinatorClient {
 public:
  CoordinatorClient(CoordinatorClientOptions options, Agent& agent);  // `agent` outlives it
  ~CoordinatorClient();

  // Serves until Stop (OK), or until the server says that coming back is of no use
  // (kFailedPrecondition). Lost connections are logged and tried again.
  Status Run();

  // Ends the stream and Run. The agent's sets are the caller's business, before.
  void Stop();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace capstan::agent
