#include "tests/support/scripted_requester.h"

#include <csignal>
#include <utility>

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include "capstan/v1/requester.grpc.pb.h"

#include "vdi/base/check.h"
#include "vdi/base/mutex.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

v1::ExecuteResponse DonePart(bool succeeded) {
  v1::ExecuteResponse part;
  part.mutable_done()->set_succeeded(succeeded);
  return part;
}

}  // namespace

class ScriptedRequester::Service final : public v1::Requester::Service {
 public:
  explicit Service(const std::string& address) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    // As the real server does: requesters may ping while a statement is silent.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    CAPSTAN_CHECK(server_ != nullptr);
  }
  ~Service() override { server_->Shutdown(std::chrono::system_clock::now()); }

  int port() const { return port_; }

  void Add(std::string batch_contains, std::vector<v1::ExecuteResponse> parts, Ending ending) {
    const MutexLock lock(mutex_);
    rules_.push_back({std::move(batch_contains), std::move(parts), ending});
  }

  std::vector<v1::ExecuteRequest> Requests() const {
    const MutexLock lock(mutex_);
    return requests_;
  }

  bool WaitForHanging(std::chrono::seconds timeout) const { return WaitFor(hanging_, timeout); }
  bool WaitForCancelled(std::chrono::seconds timeout) const { return WaitFor(cancelled_, timeout); }

  grpc::Status Execute(grpc::ServerContext* context, const v1::ExecuteRequest* request,
                       grpc::ServerWriter<v1::ExecuteResponse>* writer) override {
    const Rule rule = Take(*request);
    for (const v1::ExecuteResponse& part : rule.parts) {
      writer->Write(part);
    }
    switch (rule.ending) {
      case Ending::kSucceeded:
      case Ending::kFailed:
        writer->Write(DonePart(rule.ending == Ending::kSucceeded));
        return grpc::Status::OK;
      case Ending::kNoDone:
        return grpc::Status::OK;
      case Ending::kStopping:
        return {grpc::StatusCode::UNAVAILABLE, "the server is stopping"};
      case Ending::kHangs:
        return Hang(*context);
      case Ending::kProcessDies:
        ::_exit(9);
      case Ending::kProcessFreezes:
        ::raise(SIGSTOP);
        return grpc::Status::OK;
    }
    CAPSTAN_CHECK(false);
  }

 private:
  struct Rule {
    std::string batch_contains;
    std::vector<v1::ExecuteResponse> parts;
    Ending ending = Ending::kSucceeded;
  };

  Rule Take(const v1::ExecuteRequest& request) {
    const MutexLock lock(mutex_);
    requests_.push_back(request);
    for (const Rule& rule : rules_) {
      if (request.batch().find(rule.batch_contains) != std::string::npos) {
        return rule;
      }
    }
    return {
        "", {ErrorMessage(102, "No rule of the script fits: " + request.batch())}, Ending::kFailed};
  }

  grpc::Status Hang(const grpc::ServerContext& context) {
    Set(hanging_);
    while (!context.IsCancelled()) {
      ::usleep(1000);  // the synchronous API has no call that waits for cancellation
    }
    Set(cancelled_);
    return grpc::Status::CANCELLED;
  }

  void Set(bool& flag) {
    const MutexLock lock(mutex_);
    flag = true;
    changed_.NotifyAll();
  }

  bool WaitFor(const bool& flag, std::chrono::seconds timeout) const {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    const MutexLock lock(mutex_);
    while (!flag) {
      if (!changed_.WaitUntil(mutex_, deadline)) {
        return flag;
      }
    }
    return true;
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;

  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::vector<Rule> rules_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<v1::ExecuteRequest> requests_ CAPSTAN_GUARDED_BY(mutex_);
  // Guarded by mutex_; not annotated, because Set and WaitFor take them by reference.
  bool hanging_ = false;
  bool cancelled_ = false;
};

ScriptedRequester::ScriptedRequester(const std::string& address)
    : service_(std::make_unique<Service>(address)) {}

ScriptedRequester::~ScriptedRequester() = default;

int ScriptedRequester::port() const {
  return service_->port();
}

void ScriptedRequester::Answer(std::string batch_contains, std::vector<v1::ExecuteResponse> parts,
                               Ending ending) {
  service_->Add(std::move(batch_contains), std::move(parts), ending);
}

std::vector<v1::ExecuteRequest> ScriptedRequester::Requests() const {
  return service_->Requests();
}

std::string ScriptedRequester::OnlyBatch() const {
  const std::vector<v1::ExecuteRequest> requests = Requests();
  CAPSTAN_CHECK(requests.size() == 1);
  return requests.front().batch();
}

bool ScriptedRequester::WaitForHanging(std::chrono::seconds timeout) const {
  return service_->WaitForHanging(timeout);
}

bool ScriptedRequester::WaitForCancelled(std::chrono::seconds timeout) const {
  return service_->WaitForCancelled(timeout);
}

v1::ExecuteResponse Information(std::string text, int number) {
  v1::ExecuteResponse part;
  part.mutable_message()->set_number(number);
  part.mutable_message()->set_state(1);
  part.mutable_message()->set_line(1);
  part.mutable_message()->set_text(std::move(text));
  return part;
}

v1::ExecuteResponse ErrorMessage(int number, std::string text, std::string hint) {
  v1::ExecuteResponse part = Information(std::move(text), number);
  part.mutable_message()->set_severity(16);
  part.mutable_message()->set_hint(std::move(hint));
  return part;
}

v1::ExecuteResponse Columns(const std::vector<std::string>& columns) {
  v1::ExecuteResponse part;
  for (const std::string& column : columns) {
    const std::size_t space = column.rfind(' ');
    CAPSTAN_CHECK(space != std::string::npos);
    v1::Column* const added = part.mutable_result_set()->add_columns();
    added->set_name(column.substr(0, space));
    added->set_type(column.substr(space + 1));
  }
  return part;
}

v1::ExecuteResponse Values(const std::vector<const char*>& values) {
  v1::ExecuteResponse part;
  for (const char* const value : values) {
    v1::Value* const added = part.mutable_row()->add_values();
    if (value != nullptr) {
      added->set_text(value);
    }
  }
  return part;
}

v1::ExecuteResponse ProgressAt(double percent, std::uint64_t bytes_done,
                               std::uint64_t bytes_total) {
  v1::ExecuteResponse part;
  v1::Progress* const progress = part.mutable_progress();
  progress->set_job_id(51);
  progress->set_phase("Reading data");
  progress->set_percent(percent);
  progress->set_bytes_done(bytes_done);
  progress->set_bytes_total(bytes_total);
  progress->set_elapsed_ms(1000);
  v1::DeviceProgress* const device = progress->add_devices();
  device->set_name("/backup/a.bak");
  device->set_agent("disk");
  device->set_bytes(bytes_done);
  device->set_bytes_per_second_now(bytes_done);
  device->set_bytes_per_second_mean(bytes_done);
  device->set_in_flight(4);
  device->set_state("writing");
  return part;
}

}  // namespace capstan::test
