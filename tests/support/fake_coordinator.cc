#include "tests/support/fake_coordinator.h"

#include <chrono>
#include <utility>

#include "vdi/base/check.h"
#include "vdi/base/clock.h"

namespace capstan::test {
namespace {

Deadline Patience() {
  return Deadline::After(std::chrono::seconds(10));
}

}  // namespace

FakeCoordinator::FakeCoordinator(const std::string& socket_path, std::string rendezvous_path)
    : rendezvous_path_(std::move(rendezvous_path)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket_path, grpc::InsecureServerCredentials());
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  CAPSTAN_CHECK(server_ != nullptr);
}

FakeCoordinator::~FakeCoordinator() {
  BreakStream();
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

void FakeCoordinator::Refuse(grpc::StatusCode code, std::string message) {
  const MutexLock lock(mutex_);
  refusal_ = grpc::Status(code, std::move(message));
}

void FakeCoordinator::BreakStream() {
  const MutexLock lock(mutex_);
  if (context_ != nullptr) {
    context_->TryCancel();
  }
}

grpc::Status FakeCoordinator::Attach(grpc::ServerContext* context, Stream* stream) {
  v1::AgentMessage message;
  if (!stream->Read(&message) || !message.has_hello()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "no hello"};
  }
  {
    const MutexLock lock(mutex_);
    if (!refusal_.ok()) {
      return refusal_;
    }
    v1::ServerMessage reply;
    reply.mutable_welcome()->set_server_version("test");
    reply.mutable_welcome()->set_rendezvous_path(rendezvous_path_);
    reply.mutable_welcome()->set_lease_ms(5000);
    stream->Write(reply);
    context_ = context;
    stream_ = stream;
    hello_ = message.hello();
    ++hello_count_;
    changed_.NotifyAll();
  }
  while (stream->Read(&message)) {
    Take(message);
  }
  const MutexLock lock(mutex_);
  context_ = nullptr;
  stream_ = nullptr;
  return grpc::Status::OK;
}

void FakeCoordinator::Take(const v1::AgentMessage& message) {
  const MutexLock lock(mutex_);
  if (message.has_result()) {
    results_[message.result().order_id()] = message.result();
  } else if (message.has_report() && message.report().devices_size() > 0) {
    report_ = message.report();
  }
  changed_.NotifyAll();
}

std::optional<v1::Hello> FakeCoordinator::WaitForHello(int number) {
  const Deadline deadline = Patience();
  const MutexLock lock(mutex_);
  while (hello_count_ < number) {
    if (!changed_.WaitUntil(mutex_, deadline.when())) {
      return std::nullopt;
    }
  }
  return hello_;
}

std::optional<v1::OrderResult> FakeCoordinator::Run(v1::Order order) {
  const Deadline deadline = Patience();
  const MutexLock lock(mutex_);
  if (stream_ == nullptr) {
    return std::nullopt;
  }
  const std::uint64_t id = ++last_order_id_;
  order.set_order_id(id);
  v1::ServerMessage message;
  *message.mutable_order() = std::move(order);
  stream_->Write(message);
  while (results_.count(id) == 0) {
    if (!changed_.WaitUntil(mutex_, deadline.when())) {
      return std::nullopt;
    }
  }
  return results_[id];
}

std::optional<v1::DeviceReport> FakeCoordinator::WaitForReport() {
  const Deadline deadline = Patience();
  const MutexLock lock(mutex_);
  report_.reset();
  while (!report_) {
    if (!changed_.WaitUntil(mutex_, deadline.when())) {
      return std::nullopt;
    }
  }
  return report_;
}

}  // namespace capstan::test
