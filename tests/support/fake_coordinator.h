// FakeCoordinator: the server's end of an agent's stream, played by the test.
//
//   FakeCoordinator server(directory.Under("server.sock"), "/run/test.vdi");
//   ... an agent attaches ...
//   ASSERT_TRUE(server.WaitForHello());
//   const auto result = server.Run(order);   // sends, waits for the result
//
// One agent at a time. Threads: any. Every wait ends after ten seconds, with nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/grpcpp.h>

#include "capstan/v1/coordinator.grpc.pb.h"

#include "vdi/base/mutex.h"

namespace capstan::test {

class FakeCoordinator final : private v1::Coordinator::Service {
 public:
  FakeCoordinator(const std::string& socket_path, std::string rendezvous_path);
  ~FakeCoordinator() override;  // breaks the stream

  // From now on agents are turned away with this.
  void Refuse(grpc::StatusCode code, std::string message);
  // Ends the stream of the agent that is attached, as a dying server would.
  void BreakStream();

  // Waits until the `number`-th Hello, from 1.
  std::optional<v1::Hello> WaitForHello(int number = 1);
  std::optional<v1::OrderResult> Run(v1::Order order);
  // The next report that says something of a device; older ones are forgotten.
  std::optional<v1::DeviceReport> WaitForReport();

 private:
  using Stream = grpc::ServerReaderWriter<v1::ServerMessage, v1::AgentMessage>;

  grpc::Status Attach(grpc::ServerContext* context, Stream* stream) override;
  void Take(const v1::AgentMessage& message) CAPSTAN_EXCLUDES(mutex_);

  const std::string rendezvous_path_;

  Mutex mutex_;
  CondVar changed_;
  grpc::Status refusal_ CAPSTAN_GUARDED_BY(mutex_);
  grpc::ServerContext* context_ CAPSTAN_GUARDED_BY(mutex_) = nullptr;
  Stream* stream_ CAPSTAN_GUARDED_BY(mutex_) = nullptr;
  int hello_count_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  v1::Hello hello_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint64_t last_order_id_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::map<std::uint64_t, v1::OrderResult> results_ CAPSTAN_GUARDED_BY(mutex_);
  std::optional<v1::DeviceReport> report_ CAPSTAN_GUARDED_BY(mutex_);

  std::unique_ptr<grpc::Server> server_;
};

}  // namespace capstan::test
