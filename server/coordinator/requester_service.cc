#include "server/coordinator/requester_service.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "capstan/v1/requester.grpc.pb.h"

#include "vdi/base/mutex.h"

namespace capstan::coordinator {
namespace {

namespace pb = ::capstan::v1;

constexpr std::size_t kBatchSizeMax = 1 << 20;  // bytes
constexpr std::chrono::milliseconds kGonePoll{100};

pb::Progress ToProto(const engine::JobSnapshot& snapshot) {
  pb::Progress progress;
  progress.set_job_id(snapshot.session_id);
  progress.set_phase(snapshot.phase);
  progress.set_percent(snapshot.percent_complete());
  progress.set_bytes_done(snapshot.bytes_done);
  progress.set_bytes_total(snapshot.bytes_total);
  progress.set_elapsed_ms(snapshot.elapsed_ms);
  for (const engine::DeviceSnapshot& device : snapshot.devices) {
    pb::DeviceProgress* out = progress.add_devices();
    out->set_name(device.target);
    out->set_agent(device.agent);
    out->set_bytes(device.bytes);
    out->set_bytes_per_second_now(device.bytes_per_second_now);
    out->set_bytes_per_second_mean(device.bytes_per_second_mean);
    out->set_in_flight(device.in_flight);
    out->set_state(device.state);
  }
  return progress;
}

// Writes a batch's answers onto its stream.
class StreamSink final : public ResponseSink {
 public:
  StreamSink(grpc::ServerContext& context, grpc::ServerWriter<pb::ExecuteResponse>& writer,
             std::uint32_t progress_interval_ms, const std::string& server_name)
      : context_(context),
        writer_(writer),
        progress_interval_(progress_interval_ms),
        server_name_(server_name) {}

  void OnMessage(const StatementMessage& message) override {
    pb::ExecuteResponse response;
    pb::Message* out = response.mutable_message();
    out->set_number(message.number);
    out->set_severity(message.severity);
    out->set_state(message.state);
    out->set_line(message.line);
    out->set_text(message.text);
    out->set_hint(message.hint);
    out->set_server_name(server_name_);
    Write(response);
  }

  void OnResultSet(const catalog::Table& table) override {
    pb::ExecuteResponse response;
    for (const catalog::Column& column : table.columns) {
      pb::Column* out = response.mutable_result_set()->add_columns();
      out->set_name(column.name);
      out->set_type(column.type);
    }
    response.mutable_result_set();
    Write(response);
    for (const auto& row : table.rows) {
      pb::ExecuteResponse part;
      for (const auto& cell : row) {
        pb::Value* value = part.mutable_row()->add_values();
        if (cell) {
          value->set_text(*cell);
        }
      }
      Write(part);
    }
  }

  void OnProgress(const engine::JobSnapshot& snapshot) override {
    const auto now = std::chrono::steady_clock::now();
    const bool finished = snapshot.bytes_total > 0 && snapshot.bytes_done == snapshot.bytes_total;
    if (progress_interval_.count() == 0 || (now < next_progress_ && !finished)) {
      return;
    }
    next_progress_ = now + progress_interval_;
    pb::ExecuteResponse response;
    *response.mutable_progress() = ToProto(snapshot);
    Write(response);
  }

  bool gone() const override { return broken_ || context_.IsCancelled(); }

  void Done(bool succeeded) {
    pb::ExecuteResponse response;
    response.mutable_done()->set_succeeded(succeeded);
    Write(response);
  }

 private:
  void Write(const pb::ExecuteResponse& response) {
    if (!broken_ && !writer_.Write(response)) {
      broken_ = true;  // the requester is gone; the watcher cancels its job
    }
  }

  grpc::ServerContext& context_;
  grpc::ServerWriter<pb::ExecuteResponse>& writer_;
  const std::chrono::milliseconds progress_interval_;
  const std::string& server_name_;
  std::chrono::steady_clock::time_point next_progress_{};
  bool broken_ = false;
};

class GrpcRequesterService final : public RequesterService, private pb::Requester::Service {
 public:
  GrpcRequesterService(Parts parts, Entrance entrance, std::string server_name)
      : executor_(parts.executor),
        jobs_(parts.jobs),
        gate_(parts.gate),
        entrance_(entrance),
        server_name_(std::move(server_name)),
        watcher_([this](const std::stop_token& stop) noexcept { WatchRequesters(stop); }) {}

  grpc::Service& service() override { return *this; }

  void Stop() override {
    MutexLock lock(mutex_);
    stopping_ = true;
  }

 private:
  struct Running {
    int session_id;
    const grpc::ServerContext* context;
  };

  grpc::Status Execute(grpc::ServerContext* context, const pb::ExecuteRequest* request,
                       grpc::ServerWriter<pb::ExecuteResponse>* writer) override {
    if (request->batch().size() > kBatchSizeMax) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "a batch has at most 1 MiB"};
    }
    const std::optional<std::string> password =
        request->has_password() ? std::optional(request->password()) : std::nullopt;
    if (const Status admitted = gate_.Admit(entrance_, request->login(), password);
        !admitted.ok()) {
      return {static_cast<grpc::StatusCode>(admitted.code()), std::string(admitted.message())};
    }
    Session session{.session_id = executor_.NewSessionId(), .login = request->login()};
    {
      MutexLock lock(mutex_);
      if (stopping_) {
        return {grpc::StatusCode::UNAVAILABLE, "the server is stopping"};
      }
      running_.push_back({session.session_id, context});
    }
    StreamSink sink(*context, *writer, request->progress_interval_ms(), server_name_);
    const bool succeeded = executor_.ExecuteBatch(request->batch(), session, sink);
    {
      // Before the call ends: the context must not be looked at afterwards.
      MutexLock lock(mutex_);
      std::erase_if(running_, [&](const Running& r) { return r.context == context; });
    }
    sink.Done(succeeded);
    return grpc::Status::OK;
  }

  void WatchRequesters(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      MutexLock lock(mutex_);
      for (const Running& running : running_) {
        if (running.context->IsCancelled()) {
          jobs_.Cancel(running.session_id);
        }
      }
      // Only the stop of the service would want to wake this early, and it can wait that long.
      tick_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kGonePoll);
    }
  }

  StatementExecutor& executor_;
  engine::JobRegistry& jobs_;
  LoginGate& gate_;
  const Entrance entrance_;
  const std::string server_name_;

  Mutex mutex_;
  CondVar tick_;
  bool stopping_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::vector<Running> running_ CAPSTAN_GUARDED_BY(mutex_);

  std::jthread watcher_;  // last: joined before the rest goes
};

}  // namespace

std::unique_ptr<RequesterService> RequesterService::Create(Parts parts, Entrance entrance,
                                                           std::string server_name) {
  return std::make_unique<GrpcRequesterService>(parts, entrance, std::move(server_name));
}

}  // namespace capstan::coordinator
