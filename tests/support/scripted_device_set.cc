#include "tests/support/scripted_device_set.h"

#include <chrono>
#include <utility>

#include "vdi/base/check.h"

namespace capstan::test {
namespace {

Deadline Patience() {
  return Deadline::After(std::chrono::seconds(10));
}

Status Aborted() {
  return Error(Code::kAborted, "the device set was aborted");
}

}  // namespace

class ScriptedDevice final : public vdi::ClientDevice {
 public:
  ScriptedDevice(ScriptedEngine& engine, std::size_t index) : engine_(engine), index_(index) {}

  Result<std::optional<vdi::ClientCommand>> GetCommand(Deadline deadline) override {
    const MutexLock lock(engine_.mutex_);
    while (true) {
      auto& state = engine_.devices_[index_];
      if (!engine_.abort_reason_.ok()) {
        return Aborted();
      }
      if (!state.commands.empty()) {
        const vdi::ClientCommand command = state.commands.front();
        state.commands.pop_front();
        return std::optional<vdi::ClientCommand>(command);
      }
      if (state.closed) {
        return std::optional<vdi::ClientCommand>();
      }
      if (!engine_.changed_.WaitUntil(engine_.mutex_, deadline.when())) {
        return Error(Code::kDeadlineExceeded, "no command");
      }
    }
  }

  Status CompleteCommand(std::uint64_t command_id, vdi::CompletionCode code, std::uint32_t bytes,
                         std::int64_t position) override {
    const MutexLock lock(engine_.mutex_);
    if (!engine_.abort_reason_.ok()) {
      return Aborted();
    }
    engine_.completions_[command_id] = {code, bytes, position};
    engine_.changed_.NotifyAll();
    return OkStatus();
  }

 private:
  ScriptedEngine& engine_;
  const std::size_t index_;
};

class ScriptedSet final : public vdi::ClientDeviceSet {
 public:
  explicit ScriptedSet(ScriptedEngine& engine) : engine_(engine) {}

  Result<vdi::DeviceSetConfig> GetConfiguration(Deadline deadline) override {
    const MutexLock lock(engine_.mutex_);
    while (!engine_.configured_ && engine_.abort_reason_.ok()) {
      if (!engine_.changed_.WaitUntil(engine_.mutex_, deadline.when())) {
        return Error(Code::kDeadlineExceeded, "not configured");
      }
    }
    if (!engine_.abort_reason_.ok()) {
      return Aborted();
    }
    return engine_.wishes_;
  }

  Result<vdi::ClientDevice*> OpenDevice(std::string_view name) override {
    const MutexLock lock(engine_.mutex_);
    engine_.devices_.push_back({.name = std::string(name), .commands = {}});
    devices_.push_back(std::make_unique<ScriptedDevice>(engine_, engine_.devices_.size() - 1));
    engine_.changed_.NotifyAll();
    return static_cast<vdi::ClientDevice*>(devices_.back().get());
  }

  // The script's commands have buffers of the test, which no other process could map.
  Result<vdi::BufferHandle> GetBufferHandle(const std::byte* /*buffer*/) override {
    return Error(Code::kInvalidArgument, "not a buffer of the set");
  }
  Result<std::byte*> MapBufferHandle(vdi::BufferHandle /*handle*/) override {
    return Error(Code::kInvalidArgument, "not a handle of the set");
  }

  void SignalAbort() override { engine_.Abort(); }
  Status abort_reason() const override {
    const MutexLock lock(engine_.mutex_);
    return engine_.abort_reason_;
  }

  Status Close() override {
    const MutexLock lock(engine_.mutex_);
    engine_.closed_ = true;
    engine_.changed_.NotifyAll();
    return OkStatus();
  }

 private:
  ScriptedEngine& engine_;
  std::vector<std::unique_ptr<ScriptedDevice>> devices_;
};

agent::CreateDeviceSet ScriptedEngine::creator() {
  return
      [this](const std::string& rendezvous_path, std::string_view,
             const vdi::DeviceSetConfig& wishes) -> Result<std::unique_ptr<vdi::ClientDeviceSet>> {
        const MutexLock lock(mutex_);
        if (!create_failure_.ok()) {
          return create_failure_;
        }
        rendezvous_path_ = rendezvous_path;
        wishes_ = wishes;
        return std::unique_ptr<vdi::ClientDeviceSet>(std::make_unique<ScriptedSet>(*this));
      };
}

void ScriptedEngine::FailCreate(Status status) {
  const MutexLock lock(mutex_);
  create_failure_ = std::move(status);
}

void ScriptedEngine::Configure() {
  const MutexLock lock(mutex_);
  configured_ = true;
  changed_.NotifyAll();
}

std::uint64_t ScriptedEngine::Send(std::size_t device, vdi::ClientCommand command) {
  const Deadline deadline = Patience();
  const MutexLock lock(mutex_);
  while (devices_.size() <= device) {
    if (!changed_.WaitUntil(mutex_, deadline.when())) {
      return 0;  // WaitFor finds no completion of that
    }
  }
  command.id = ++last_id_;
  devices_[device].commands.push_back(command);
  changed_.NotifyAll();
  return command.id;
}

std::optional<ScriptedCompletion> ScriptedEngine::WaitFor(std::uint64_t command_id) {
  const Deadline deadline = Patience();
  const MutexLock lock(mutex_);
  while (completions_.count(command_id) == 0) {
    if (!changed_.WaitUntil(mutex_, deadline.when())) {
      return std::nullopt;
    }
  }
  return completions_[command_id];
}

void ScriptedEngine::CloseDevice(std::size_t device) {
  const Deadline deadline = Patience();
  const MutexLock lock(mutex_);
  while (devices_.size() <= device) {
    if (!changed_.WaitUntil(mutex_, deadline.when())) {
      return;
    }
  }
  devices_[device].closed = true;
  changed_.NotifyAll();
}

void ScriptedEngine::CloseDevices() {
  for (std::size_t device = 0; device < wishes().device_count; ++device) {
    CloseDevice(device);
  }
}

void ScriptedEngine::Abort() {
  End(Error(Code::kAborted, "the engine aborted"));
}

void ScriptedEngine::Die() {
  End(Error(Code::kUnavailable, "the engine is gone"));
}

void ScriptedEngine::End(Status why) {
  const MutexLock lock(mutex_);
  if (abort_reason_.ok()) {
    abort_reason_ = std::move(why);
  }
  changed_.NotifyAll();
}

void ScriptedEngine::Renew() {
  const MutexLock lock(mutex_);
  CAPSTAN_CHECK(closed_);
  configured_ = false;
  abort_reason_ = OkStatus();
  closed_ = false;
  devices_.clear();
  completions_.clear();
}

bool ScriptedEngine::WaitForClose() {
  const Deadline deadline = Patience();
  const MutexLock lock(mutex_);
  while (!closed_) {
    if (!changed_.WaitUntil(mutex_, deadline.when())) {
      return false;
    }
  }
  return true;
}

vdi::DeviceSetConfig ScriptedEngine::wishes() {
  const MutexLock lock(mutex_);
  return wishes_;
}

std::string ScriptedEngine::rendezvous_path() {
  const MutexLock lock(mutex_);
  return rendezvous_path_;
}

bool ScriptedEngine::aborted() {
  const MutexLock lock(mutex_);
  return !abort_reason_.ok();
}

}  // namespace capstan::test
