// SnapshotDevices: a DeviceProvider for virtual devices whose client takes snapshots, as a vendor's
// program does, over a real rendezvous socket. SnapshotClient is that program: it keeps the stream
// in memory and does for each snapshot command what the test says.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/device_provider.h"
#include "server/messages/messages.h"
#include "tests/support/device_client.h"
#include "vdi/base/mutex.h"
#include "vdi/rendezvous.h"

namespace capstan::test {

class SnapshotDevices final : public engine::DeviceProvider {
 public:
  explicit SnapshotDevices(const std::string& socket_path) {
    auto rendezvous = vdi::Rendezvous::Listen({.path = socket_path});
    CAPSTAN_CHECK(rendezvous.ok());
    rendezvous_ = std::move(rendezvous).value();
  }

  const std::string& path() const { return rendezvous_->path(); }

  Result<engine::ProvidedSet> Open(const engine::DeviceSetRequest& request,
                                   Deadline deadline) override {
    engine::ProvidedSet provided;
    for (const engine::DeviceTarget& target : request.targets) {
      provided.device_names.push_back(target.name);
    }
    CAPSTAN_ASSIGN_OR_RETURN(provided.set, rendezvous_->Open(request.targets[0].name, deadline));
    return provided;
  }
  Status Recover(const std::string&, const engine::DeviceTarget&, engine::RecoverAction,
                 Deadline) override {
    return OkStatus();
  }
  Result<engine::MediumStat> Stat(const std::string&, const engine::DeviceTarget&,
                                  Deadline) override {
    return engine::MediumStat{};
  }
  std::string ErrorDetail(const std::string&, const std::string&) override { return ""; }

 private:
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
};

class SnapshotClient {
 public:
  using Step = std::function<vdi::CompletionCode()>;
  struct Options {
    std::uint32_t features = vdi::feature::kSnapshotPrepare;
    std::vector<std::byte> stream = {};  // what RESTORE reads
    // Empty: success.
    Step on_prepare = {}, on_snapshot = {}, on_mount = {};
  };

  SnapshotClient(const std::string& rendezvous_path, const std::string& name, Options options)
      : options_(std::move(options)) {
    media_.bytes(0) = options_.stream;
    DeviceHandlers handlers = media_.handlers();
    handlers.read = Noting(handlers.read);
    handlers.write = Noting(handlers.write);
    const auto succeed = [](std::size_t, const vdi::ClientCommand&) { return Outcome{}; };
    handlers.flush = Noting(succeed);
    handlers.complete = Noting(succeed);
    handlers.other = Noting([this](std::size_t, const vdi::ClientCommand& command) {
      return Outcome{.code = Answer(command.code)};
    });
    client_ = std::make_unique<DeviceClient>(
        rendezvous_path, name,
        vdi::DeviceSetConfig{.device_count = 1, .features = options_.features},
        std::move(handlers));
  }

  DeviceClient& device() { return *client_; }
  // The commands that came, each kind once for a run of it: {"Write", "Snapshot", ...}.
  std::vector<std::string> commands() {
    MutexLock lock(mutex_);
    return commands_;
  }
  // After device().Finish().
  const std::vector<std::byte>& stream() { return media_.bytes(0); }

 private:
  vdi::CompletionCode Answer(vdi::CommandCode code) {
    const Step* step = nullptr;
    if (code == vdi::CommandCode::kPrepareToFreeze) {
      step = &options_.on_prepare;
    } else if (code == vdi::CommandCode::kSnapshot) {
      step = &options_.on_snapshot;
    } else if (code == vdi::CommandCode::kMountSnapshot) {
      step = &options_.on_mount;
    } else {
      return code == vdi::CommandCode::kClearError ? vdi::CompletionCode::kSuccess
                                                   : vdi::CompletionCode::kNotSupported;
    }
    return *step ? (*step)() : vdi::CompletionCode::kSuccess;
  }

  DeviceHandlers::Handler Noting(DeviceHandlers::Handler handler) {
    return [this, handler = std::move(handler)](std::size_t device,
                                                const vdi::ClientCommand& command) {
      {
        MutexLock lock(mutex_);
        std::string name(vdi::CommandName(command.code));
        if (commands_.empty() || commands_.back() != name) {
          commands_.push_back(std::move(name));
        }
      }
      return handler(device, command);
    };
  }

  const Options options_;
  MemoryMedia media_{1};
  Mutex mutex_;
  std::vector<std::string> commands_ CAPSTAN_GUARDED_BY(mutex_);
  std::unique_ptr<DeviceClient> client_;  // last: its threads use the rest
};

}  // namespace capstan::test
