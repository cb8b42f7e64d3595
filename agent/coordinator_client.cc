#include "agent/coordinator_client.h"

#include <algorithm>
#include <atomic>
#include <list>
#include <random>
#include <thread>
#include <utility>

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include "capstan/v1/coordinator.grpc.pb.h"

#include "agent/order_conversion.h"
#include "vdi/base/clock.h"
#include "vdi/base/log.h"
#include "vdi/base/mutex.h"
#include "vdi/base/thread.h"

namespace capstan::agent {
namespace {

constexpr std::uint32_t kProtocolVersion = 1;

Status StatusOf(const grpc::Status& status) {
  return status.ok() ? OkStatus()
                     : Status(static_cast<Code>(status.error_code()), status.error_message());
}

OrderOutcome RecoverMedium(MediaPlugin& plugin, const v1::RecoverMedia& message) {
  auto action = RecoverActionOf(message);
  if (!action.ok()) {
    return {std::move(action).status(), message.target()};
  }
  Status status = plugin.Recover(message.target(), message.token(), *action);
  return {std::move(status), message.target()};
}

v1::OrderResult StatMedium(MediaPlugin& plugin, std::uint64_t order_id, const std::string& target) {
  const auto stat = plugin.Stat(target);
  v1::OrderResult result = OrderResultOf(order_id, {stat.status(), target});
  if (stat.ok()) {
    result.mutable_stat()->set_exists(stat->exists);
    result.mutable_stat()->set_size(stat->size);
    result.mutable_stat()->set_free_space(stat->free_space);
    result.mutable_stat()->set_modified_unix_s(stat->modified_unix_s);
  }
  return result;
}

v1::OrderResult CarryOut(Agent& agent, const v1::Order& order) {
  const std::uint64_t id = order.order_id();
  switch (order.what_case()) {
    case v1::Order::kOpenDeviceSet: {
      auto wanted = DeviceSetOrderOf(order.open_device_set());
      return OrderResultOf(id, wanted.ok() ? agent.OpenDeviceSet(*wanted)
                                           : OrderOutcome{std::move(wanted).status()});
    }
    case v1::Order::kCloseDeviceSet:
      return OrderResultOf(id, {agent.CloseDeviceSet(order.close_device_set().set_name())});
    case v1::Order::kRecoverMedia:
      return OrderResultOf(id, RecoverMedium(agent.plugin(), order.recover_media()));
    case v1::Order::kStatMedia:
      return StatMedium(agent.plugin(), id, order.stat_media().target());
    case v1::Order::kRemoveMedia:
      return OrderResultOf(id, {agent.plugin().Remove(order.remove_media().target()),
                                order.remove_media().target()});
    default:
      return OrderResultOf(id,
                           {Error(Code::kUnimplemented, "this agent does not know order {}", id)});
  }
}

// One stream, from Hello to its end. Owns a reporter thread and one thread per order.
class Attachment {
 public:
  Attachment(v1::Coordinator::Stub& stub, const CoordinatorClientOptions& options, Agent& agent)
      : options_(options), agent_(agent), stream_(stub.Attach(&context_)) {}

  // True in *welcomed once the server took us.
  Status Serve(bool* welcomed) {
    if (SendHello()) {
      const std::jthread reporter([this](const std::stop_token& stop) { Report(stop); });
      v1::ServerMessage message;
      while (stream_->Read(&message)) {
        *welcomed = *welcomed || message.has_welcome();
        Take(message);
      }
      ended_.store(true, std::memory_order_relaxed);
    }
    // The engine that ordered what still runs is gone. Once more after the orders have ended, for a
    // set that one of them opened meanwhile.
    agent_.EngineVanished();
    orders_.clear();
    agent_.EngineVanished();
    return StatusOf(stream_->Finish());
  }

  void Cancel() { context_.TryCancel(); }

 private:
  struct RunningOrder {
    std::atomic<bool> done{false};
    std::jthread thread;
  };

  bool SendHello() {
    v1::AgentMessage message;
    v1::Hello& hello = *message.mutable_hello();
    hello.set_protocol_version(kProtocolVersion);
    hello.set_agent_name(options_.agent_name);
    hello.set_agent_version(options_.agent_version);
    hello.set_pid(::getpid());
    *hello.mutable_plugin() = PluginInfoOf(agent_.plugin().info());
    return Send(message);
  }

  void Take(const v1::ServerMessage& message) {
    if (message.has_welcome()) {
      agent_.SetRendezvousPath(message.welcome().rendezvous_path());
      CAPSTAN_LOG(kInfo, "attached server={} version={} rendezvous={}", options_.server,
                  message.welcome().server_version(), message.welcome().rendezvous_path());
    } else if (message.has_order()) {
      StartOrder(message.order());
    }
  }

  void StartOrder(const v1::Order& order) {
    orders_.remove_if([](const RunningOrder& running) { return running.done.load(); });
    RunningOrder& running = orders_.emplace_back();
    auto thread = StartThread(fmt::format("order {}", order.order_id()), [this, &running, order] {
      Answer(CarryOut(agent_, order));
      running.done.store(true);
    });
    if (thread.ok()) {
      running.thread = std::move(thread).value();
    } else {
      orders_.pop_back();
      Answer(OrderResultOf(order.order_id(), {std::move(thread).status()}));
    }
  }

  void Answer(v1::OrderResult result) {
    if (result.code() != 0) {
      CAPSTAN_LOG(kWarning, "order failed order={} reason={}", result.order_id(), result.message());
    }
    v1::AgentMessage reply;
    *reply.mutable_result() = std::move(result);
    Send(reply);
  }

  void Report(const std::stop_token& stop) {
    Mutex mutex;
    CondVar never;
    const std::stop_callback wake(stop, [&] {
      const MutexLock lock(mutex);
      never.NotifyAll();
    });
    while (!stop.stop_requested() && !ended_.load(std::memory_order_relaxed)) {
      v1::AgentMessage message;
      *message.mutable_report() = DeviceReportOf(agent_.Load());
      Send(message);
      const Deadline next = Deadline::After(options_.report_interval);
      const MutexLock lock(mutex);
      while (!stop.stop_requested() && never.WaitUntil(mutex, next.when())) {
      }
    }
  }

  // False once the stream is broken.
  bool Send(const v1::AgentMessage& message) CAPSTAN_EXCLUDES(send_mutex_) {
    const MutexLock lock(send_mutex_);  // gRPC takes one Write at a time
    return stream_->Write(message);
  }

  const CoordinatorClientOptions& options_;
  Agent& agent_;
  grpc::ClientContext context_;
  Mutex send_mutex_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::AgentMessage, v1::ServerMessage>> stream_;
  std::atomic<bool> ended_{false};
  std::list<RunningOrder> orders_;  // last: their threads use everything above
};

}  // namespace

class CoordinatorClient::Impl {
 public:
  Impl(CoordinatorClientOptions options, Agent& agent)
      : options_(std::move(options)), agent_(agent), random_(std::random_device{}()) {}

  Status Run() CAPSTAN_EXCLUDES(mutex_) {
    if (options_.server.rfind("unix:", 0) != 0) {
      return Error(Code::kInvalidArgument, "server '{}' is not of the form unix:PATH",
                   options_.server)
          .WithHint("Device sets live in shared memory: an agent runs on its server's machine.");
    }
    const auto stub = v1::Coordinator::NewStub(
        grpc::CreateChannel(options_.server, grpc::InsecureChannelCredentials()));
    std::chrono::milliseconds backoff = options_.backoff_min;
    while (true) {
      bool welcomed = false;
      Status status = AttachOnce(*stub, &welcomed);
      if (Stopped()) {
        return OkStatus();
      }
      if (status.code() == Code::kFailedPrecondition) {
        return Annotate(std::move(status), "server '" + options_.server + "' refuses this agent");
      }
      backoff = welcomed ? options_.backoff_min : std::min(backoff * 2, options_.backoff_max);
      CAPSTAN_LOG(kWarning, "detached server={} retry_ms={} reason={}", options_.server,
                  backoff.count(), status.message());
      if (!WaitBeforeRetry(backoff)) {
        return OkStatus();
      }
    }
  }

  void Stop() CAPSTAN_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    stopped_ = true;
    if (attachment_ != nullptr) {
      attachment_->Cancel();
    }
    changed_.NotifyAll();
  }

 private:
  Status AttachOnce(v1::Coordinator::Stub& stub, bool* welcomed) CAPSTAN_EXCLUDES(mutex_) {
    Attachment attachment(stub, options_, agent_);
    {
      const MutexLock lock(mutex_);
      attachment_ = &attachment;
      if (stopped_) {
        attachment.Cancel();
      }
    }
    Status status = attachment.Serve(welcomed);
    const MutexLock lock(mutex_);
    attachment_ = nullptr;
    return status.ok() ? Error(Code::kUnavailable, "the server ended the stream")
                       : std::move(status);
  }

  bool Stopped() CAPSTAN_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return stopped_;
  }

  // False when stopped. Jitter: agents that lost one server must not come back all at once.
  bool WaitBeforeRetry(std::chrono::milliseconds backoff) CAPSTAN_EXCLUDES(mutex_) {
    std::uniform_int_distribution<long> jitter(backoff.count() / 2, backoff.count());
    const Deadline deadline = Deadline::After(std::chrono::milliseconds(jitter(random_)));
    const MutexLock lock(mutex_);
    while (!stopped_ && changed_.WaitUntil(mutex_, deadline.when())) {
    }
    return !stopped_;
  }

  const CoordinatorClientOptions options_;
  Agent& agent_;
  std::mt19937 random_;  // Run's thread

  Mutex mutex_;
  CondVar changed_;
  bool stopped_ CAPSTAN_GUARDED_BY(mutex_) = false;
  Attachment* attachment_ CAPSTAN_GUARDED_BY(mutex_) = nullptr;
};

CoordinatorClient::CoordinatorClient(CoordinatorClientOptions options, Agent& agent)
    : impl_(std::make_unique<Impl>(std::move(options), agent)) {}

CoordinatorClient::~CoordinatorClient() = default;

Status CoordinatorClient::Run() {
  return impl_->Run();
}

void CoordinatorClient::Stop() {
  impl_->Stop();
}

}  // namespace capstan::agent
