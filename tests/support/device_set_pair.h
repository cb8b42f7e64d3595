// DeviceSetPair: both ends of one device set in one process, taken to the state a test needs.
//
//   DeviceSetPair pair({.device_count = 2});
//   pair.Configure();            // engine() is Initializing
//   pair.OpenAll();              // engine_device(0), client_device(0), ...
//
// Every step checks itself and ends the test program when it fails: these are preconditions, not
// what is being tested. Everything lies in a temporary folder that goes with the object.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temporary_directory.h"
#include "vdi/client_device_set.h"
#include "vdi/rendezvous.h"
#include "vdi/server_device_set.h"

namespace capstan::test {

// Long enough for a loaded machine; a test that passes never waits for it.
inline Deadline Patience() {
  return Deadline::After(std::chrono::seconds(20));
}

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "precondition failed: %s\n", result.status().ToString().c_str());
    std::abort();
  }
  return std::move(result).value();
}
inline void Must(const Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "precondition failed: %s\n", status.ToString().c_str());
    std::abort();
  }
}

struct PairOptions {
  std::uint32_t device_count = 1;
  std::uint32_t features = 0;
  std::uint32_t prefix_zone_size = 0;
  std::uint32_t alignment = 0;
  std::uint32_t server_timeout_ms = 0;
  std::uint32_t soft_filemark_block_size = 0;
  std::uint32_t eom_warning_size = 0;
  std::uint32_t added_features = 0;  // by the engine, beside kWriteMedia
  std::uint64_t segment_bytes_max = 1 << 30;
};

class DeviceSetPair {
 public:
  static constexpr std::uint32_t kBufferSize = 65536;

  explicit DeviceSetPair(PairOptions options = {}) : options_(options) {
    rendezvous_ = Must(
        vdi::Rendezvous::Listen({.path = path(), .segment_bytes_max = options.segment_bytes_max}));
    client_ = Must(vdi::ClientDeviceSet::Create(path(), "set", wishes()));
    engine_ = Must(rendezvous_->Open("set", Patience()));
  }

  // Connected to Configurable.
  void Begin() {
    Must(engine_->BeginConfiguration(
        {.added_features = vdi::feature::kWriteMedia | options_.added_features,
         .block_size = 512,
         .alignment = 4096,
         .max_transfer_size = kBufferSize}));
  }
  // To Initializing, with `buffers` transfer buffers of kBufferSize.
  void Configure(std::uint32_t buffers = 8) {
    Begin();
    if (buffers > 0) {
      Must(engine_->RequestBuffers(kBufferSize, 0, buffers));
    }
    Must(engine_->EndConfiguration(names()));
    Must(client_->GetConfiguration(Patience()));
  }
  // To Active, on both sides.
  void OpenAll() {
    for (const std::string& name : names()) {
      client_devices_.push_back(Must(client_->OpenDevice(name)));
      engine_devices_.push_back(Must(engine_->OpenDevice(name, Patience())));
    }
  }

  std::string path() const { return folder_.Under("vdi.sock"); }
  vdi::DeviceSetConfig wishes() const {
    return {.device_count = options_.device_count,
            .features = options_.features,
            .prefix_zone_size = options_.prefix_zone_size,
            .alignment = options_.alignment,
            .soft_filemark_block_size = options_.soft_filemark_block_size,
            .eom_warning_size = options_.eom_warning_size,
            .server_timeout_ms = options_.server_timeout_ms};
  }
  // "set", "set2", "set3", ...
  std::vector<std::string> names() const {
    std::vector<std::string> names{"set"};
    for (std::uint32_t i = 1; i < options_.device_count; ++i) {
      names.push_back("set" + std::to_string(i + 1));
    }
    return names;
  }

  vdi::Rendezvous& rendezvous() { return *rendezvous_; }
  vdi::ServerDeviceSet& engine() { return *engine_; }
  vdi::ClientDeviceSet& client() { return *client_; }
  vdi::ServerDevice& engine_device(std::size_t i = 0) { return *engine_devices_[i]; }
  vdi::ClientDevice& client_device(std::size_t i = 0) { return *client_devices_[i]; }

  void DestroyEngine() { engine_.reset(); }
  void DestroyClient() { client_.reset(); }
  void DestroyRendezvous() { rendezvous_.reset(); }

 private:
  const PairOptions options_;
  TemporaryDirectory folder_;
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
  std::unique_ptr<vdi::ClientDeviceSet> client_;
  std::unique_ptr<vdi::ServerDeviceSet> engine_;
  std::vector<vdi::ClientDevice*> client_devices_;
  std::vector<vdi::ServerDevice*> engine_devices_;
};

// One command whose end can be waited for. Must outlive the command's flight.
class AwaitedCommand {
 public:
  explicit AwaitedCommand(vdi::CommandCode code, std::byte* buffer = nullptr,
                          std::uint32_t size = 0) {
    command_.code = code;
    command_.buffer = buffer;
    command_.size = size;
    command_.completion_context = this;
    command_.completion_routine = [](vdi::ServerCommand* command) {
      auto* self = static_cast<AwaitedCommand*>(command->completion_context);
      self->done_.set_value();
    };
    ended_ = done_.get_future();
  }

  vdi::ServerCommand* get() { return &command_; }
  bool ended() const {
    return ended_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  // Fails the process when it does not end: every command must.
  const vdi::ServerCommand& Await() {
    CAPSTAN_CHECK(ended_.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
    return command_;
  }

 private:
  vdi::ServerCommand command_;
  std::promise<void> done_;
  std::future<void> ended_;
};

}  // namespace capstan::test
