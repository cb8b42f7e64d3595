#include "server/coordinator/coordinator_service.h"

#include <algorithm>
#include <chrono>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "capstan/v1/coordinator.grpc.pb.h"

#include "vdi/base/mutex.h"

namespace capstan::coordinator {
namespace {

namespace pb = ::capstan::v1;

using Stream = grpc::ServerReaderWriter<pb::ServerMessage, pb::AgentMessage>;

// How long a stream may stay open before its agent says Hello.
constexpr std::chrono::seconds kHelloWait{5};
constexpr std::chrono::milliseconds kHelloPoll{200};

grpc::Status ToGrpc(const Status& status) {
  std::string text(status.message());
  if (!status.hint().empty()) {
    text += " (" + std::string(status.hint()) + ")";
  }
  return {static_cast<grpc::StatusCode>(status.code()), text};
}

AgentHello FromProto(const pb::Hello& hello) {
  return {.protocol_version = hello.protocol_version(),
          .name = hello.agent_name(),
          .agent_version = hello.agent_version(),
          .pid = hello.pid(),
          .plugin_name = hello.plugin().name(),
          .plugin_version = hello.plugin().version(),
          .plugin_vendor = hello.plugin().vendor(),
          .device_class = hello.plugin().device_class(),
          .schemes = {hello.plugin().schemes().begin(), hello.plugin().schemes().end()},
          .capabilities = hello.plugin().capabilities(),
          .device_features = hello.plugin().device_features()};
}

OrderResult FromProto(const pb::OrderResult& result) {
  if (result.code() == 0) {
    const pb::MediaStat& stat = result.stat();
    return {.status = OkStatus(),
            .stat = {.exists = stat.exists(),
                     .size_bytes = stat.size(),
                     .free_bytes = result.has_stat() ? stat.free_space() : UINT64_MAX}};
  }
  const bool known = result.code() > 0 && result.code() <= static_cast<int>(Code::kDataLoss);
  return {
      .status = Status(known ? static_cast<Code>(result.code()) : Code::kUnknown, result.message())
                    .WithOsError(result.os_error())
                    .WithHint(result.hint()),
      .target = result.target()};
}

std::vector<DeviceReport> FromProto(const pb::DeviceReport& report) {
  std::vector<DeviceReport> devices;
  for (const pb::DeviceLoad& load : report.devices()) {
    devices.push_back({.set_name = load.set_name(),
                       .device_name = load.device_name(),
                       .target = load.target(),
                       .mode = load.mode(),
                       .bytes = load.bytes(),
                       .bytes_per_second = load.bytes_per_second(),
                       .queue_depth = load.queue_depth(),
                       .errors = load.errors(),
                       .last_error = load.last_error(),
                       .last_error_text = load.last_error_text(),
                       .last_error_hint = load.last_error_hint(),
                       .stops = load.stops(),
                       .medium_time_us = load.medium_time_us(),
                       .medium = load.medium(),
                       .waits_for = load.waits_for(),
                       .requests = load.requests(),
                       .request_time_us = load.request_time_us(),
                       .request_time_max_us = load.request_time_max_us(),
                       .throttled_us = load.throttled_us(),
                       .retries = load.retries()});
  }
  return devices;
}

pb::OpenDeviceSet::Mode ToProto(engine::OpenMode mode) {
  switch (mode) {
    case engine::OpenMode::kRead:
      return pb::OpenDeviceSet::MODE_READ;
    case engine::OpenMode::kCreate:
      return pb::OpenDeviceSet::MODE_CREATE;
    case engine::OpenMode::kReplace:
      return pb::OpenDeviceSet::MODE_REPLACE;
    case engine::OpenMode::kAppend:
      return pb::OpenDeviceSet::MODE_APPEND;
  }
  return pb::OpenDeviceSet::MODE_UNSPECIFIED;
}

// Fills in the one part of a wire order that the plain order stands for.
struct OrderToProto {
  pb::Order& out;

  void operator()(const OpenSetOrder& order) const {
    pb::OpenDeviceSet* open = out.mutable_open_device_set();
    open->set_set_name(order.set_name);
    open->set_job_id(order.job_id);
    open->set_mode(ToProto(order.mode));
    open->set_retain_until_unix_s(order.retain_until_unix_s);
    open->set_bytes_per_second_max(order.bytes_per_second_max);
    open->set_resume(order.resume);
    open->set_keep(order.keep);
    for (const OpenSetOrder::Device& device : order.devices) {
      pb::DeviceOrder* added = open->add_devices();
      added->set_device_name(device.device_name);
      added->set_target(device.target);
      added->set_token(device.token);
      added->set_size_estimate(device.size_estimate);
    }
  }
  void operator()(const CloseSetOrder& order) const {
    out.mutable_close_device_set()->set_set_name(order.set_name);
  }
  void operator()(const RecoverOrder& order) const {
    pb::RecoverMedia* recover = out.mutable_recover_media();
    recover->set_target(order.target);
    recover->set_token(order.token);
    recover->set_action(order.action == engine::RecoverAction::kCommit
                            ? pb::RecoverMedia::ACTION_COMMIT
                            : pb::RecoverMedia::ACTION_DISCARD);
  }
  void operator()(const StatOrder& order) const {
    out.mutable_stat_media()->set_target(order.target);
  }
  void operator()(const RemoveOrder& order) const {
    out.mutable_remove_media()->set_target(order.target);
  }
};

// The writing half of one stream. It outlives its RPC, since the directory may be about to send
// while the stream ends: End() cuts it off from gRPC's objects.
class StreamLink final : public AgentLink {
 public:
  StreamLink(grpc::ServerContext& context, Stream& stream, std::string rendezvous_path)
      : rendezvous_path_(std::move(rendezvous_path)), context_(&context), stream_(&stream) {}

  bool Welcome(std::chrono::milliseconds lease) override {
    pb::ServerMessage message;
    pb::Welcome* welcome = message.mutable_welcome();
    welcome->set_server_version(CAPSTAN_VERSION);
    welcome->set_rendezvous_path(rendezvous_path_);
    welcome->set_lease_ms(static_cast<std::uint32_t>(lease.count()));
    return Write(message);
  }

  bool Send(std::uint64_t order_id, const Order& order) override {
    pb::ServerMessage message;
    message.mutable_order()->set_order_id(order_id);
    std::visit(OrderToProto{*message.mutable_order()}, order);
    return Write(message);
  }

  void Close() override {
    MutexLock lock(mutex_);
    ended_ = true;
    if (context_ != nullptr) {
      context_->TryCancel();
    }
    changed_.NotifyAll();
  }

  // Before the RPC returns: nothing of gRPC's is touched afterwards. Idempotent.
  void End() {
    MutexLock lock(mutex_);
    ended_ = true;
    if (writing_) {
      context_->TryCancel();  // ends the write, which the agent may never read
    }
    changed_.NotifyAll();
    while (writing_) {
      changed_.Wait(mutex_);
    }
    context_ = nullptr;
  }

 private:
  // gRPC takes one write at a time, and it may block: Close must be able to break it.
  bool Write(const pb::ServerMessage& message) {
    {
      MutexLock lock(mutex_);
      while (writing_ && !ended_) {
        changed_.Wait(mutex_);
      }
      if (ended_) {
        return false;
      }
      writing_ = true;
    }
    const bool written = stream_->Write(message);
    MutexLock lock(mutex_);
    writing_ = false;
    changed_.NotifyAll();
    return written;
  }

  const std::string rendezvous_path_;

  Mutex mutex_;
  CondVar changed_;
  bool ended_ CAPSTAN_GUARDED_BY(mutex_) = false;
  bool writing_ CAPSTAN_GUARDED_BY(mutex_) = false;
  grpc::ServerContext* context_ CAPSTAN_GUARDED_BY(mutex_);
  Stream* const stream_;  // used only by the one that has set writing_
};

class GrpcCoordinatorService final : public CoordinatorService, private pb::Coordinator::Service {
 public:
  GrpcCoordinatorService(AgentDirectory& agents, std::string rendezvous_path)
      : agents_(agents),
        rendezvous_path_(std::move(rendezvous_path)),
        watcher_([this](const std::stop_token& stop) noexcept { WatchStrangers(stop); }) {}

  grpc::Service& service() override { return *this; }

  void Stop() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      for (const Stranger& stranger : strangers_) {
        stranger.link->Close();
      }
      tick_.NotifyAll();
    }
    agents_.Close();
  }

 private:
  // A stream that has not said Hello.
  struct Stranger {
    std::shared_ptr<StreamLink> link;
    std::chrono::steady_clock::time_point patience_ends;
  };

  grpc::Status Attach(grpc::ServerContext* context, Stream* stream) override {
    const auto link = std::make_shared<StreamLink>(*context, *stream, rendezvous_path_);
    const grpc::Status status = Serve(*stream, link);
    link->End();
    return status;
  }

  grpc::Status Serve(Stream& stream, const std::shared_ptr<StreamLink>& link) {
    pb::AgentMessage message;
    if (!AddStranger(link)) {
      return {grpc::StatusCode::UNAVAILABLE, "the server is stopping"};
    }
    const bool spoke = stream.Read(&message);
    RemoveStranger(link);
    if (!spoke || !message.has_hello()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "an agent's first message must be Hello"};
    }
    const auto id = agents_.Attach(FromProto(message.hello()), link);
    if (!id.ok()) {
      return ToGrpc(id.status());
    }
    Status why = Error(Code::kUnavailable, "it ended its stream");
    while (stream.Read(&message)) {
      if (message.has_hello()) {
        why = Error(Code::kInvalidArgument, "it said Hello twice");
        break;
      }
      Take(*id, message);
    }
    link->End();  // now, so that Detach does not cancel the stream: the agent is to read why it
                  // ends
    agents_.Detach(*id, why);
    return ToGrpc(why);
  }

  void Take(AgentId id, const pb::AgentMessage& message) {
    if (message.has_result()) {
      agents_.OnResult(id, message.result().order_id(), FromProto(message.result()));
    } else {
      // A part that a later agent knows and we do not is a sign of life all the same.
      agents_.OnReports(id, FromProto(message.report()));
    }
  }

  bool AddStranger(const std::shared_ptr<StreamLink>& link) {
    MutexLock lock(mutex_);
    if (!stopping_) {
      strangers_.push_back({link, std::chrono::steady_clock::now() + kHelloWait});
    }
    return !stopping_;
  }

  void RemoveStranger(const std::shared_ptr<StreamLink>& link) {
    MutexLock lock(mutex_);
    std::erase_if(strangers_, [&](const Stranger& stranger) { return stranger.link == link; });
  }

  void WatchStrangers(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      MutexLock lock(mutex_);
      if (stopping_) {
        return;
      }
      const auto now = std::chrono::steady_clock::now();
      for (const Stranger& stranger : strangers_) {
        if (stranger.patience_ends <= now) {
          stranger.link->Close();
        }
      }
      tick_.WaitUntil(mutex_, now + kHelloPoll);
    }
  }

  AgentDirectory& agents_;
  const std::string rendezvous_path_;

  Mutex mutex_;
  CondVar tick_;
  bool stopping_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::vector<Stranger> strangers_ CAPSTAN_GUARDED_BY(mutex_);

  std::jthread watcher_;  // last: joined before the rest goes
};

}  // namespace

std::unique_ptr<CoordinatorService> CoordinatorService::Create(AgentDirectory& agents,
                                                               std::string rendezvous_path) {
  return std::make_unique<GrpcCoordinatorService>(agents, std::move(rendezvous_path));
}

}  // namespace capstan::coordinator
