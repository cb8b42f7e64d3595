// ClassicPair: a program's end through the built libsqlvdi.so, the engine's end through vdi/, in
// one process.
//
//   ClassicPair pair({.deviceCount = 2});
//   pair.Create();               // Configurable, as the program sees it
//   pair.Configure();            // Initializing
//   pair.OpenAll();              // Active: device(0), engine_device(0), ...
//
// Every step checks itself and ends the test program when it fails: these are preconditions. The
// library finds the server by CAPSTAN_VDI, which is restored afterwards.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <vdi.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/temporary_directory.h"
#include "vdi/rendezvous.h"
#include "vdi/server_device_set.h"
#include "vdi/sqlvdi/error_codes.h"

namespace capstan::sqlvdi {

// "VD_E_PROTOCOL": what tests compare, because a failure then says it.
inline std::string Said(int vd_error) {
  return std::string(VdErrorName(vd_error));
}

inline void MustBeOk(int vd_error, const char* what) {
  if (vd_error != NOERROR) {
    std::fprintf(stderr, "precondition failed: %s gave %s\n", what, Said(vd_error).c_str());
    std::abort();
  }
}

// An environment variable, for as long as the object lives.
class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const std::string& value) : name_(name) {
    const char* before = std::getenv(name);
    had_ = before != nullptr;
    before_ = had_ ? before : "";
    ::setenv(name, value.c_str(), 1);
  }
  ~ScopedEnvironment() {
    if (had_) {
      ::setenv(name_, before_.c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  const char* const name_;
  bool had_ = false;
  std::string before_;
};

class ClassicPair {
 public:
  static constexpr std::uint32_t kBufferSize = 65536;

  // Does Not Exist: the server listens, the program has done nothing.
  explicit ClassicPair(VDConfig wishes = OneDevice()) : wishes_(wishes) {
    rendezvous_ = test::Must(vdi::Rendezvous::Listen({.path = path()}));
  }

  void Create() {
    MustBeOk(set_->Create(name(0), &wishes_), "Create");
    engine_ = test::Must(rendezvous_->Open("set", test::Patience()));
  }
  void Configure(std::uint32_t buffers = 8) {
    test::Must(engine_->BeginConfiguration({.added_features = vdi::feature::kWriteMedia,
                                            .block_size = 512,
                                            .alignment = 4096,
                                            .max_transfer_size = kBufferSize}));
    test::Must(engine_->RequestBuffers(kBufferSize, 0, buffers));
    test::Must(engine_->EndConfiguration(names_));
    MustBeOk(set_->GetConfiguration(-1, &config_), "GetConfiguration");
  }
  void OpenAll() {
    for (std::uint32_t i = 0; i < wishes_.deviceCount; ++i) {
      ClientVirtualDevice* device = nullptr;
      MustBeOk(set_->OpenDevice(name(i), &device), "OpenDevice");
      devices_.push_back(device);
      engine_devices_.push_back(test::Must(engine_->OpenDevice(names_[i], test::Patience())));
    }
  }
  void ToActive() {
    Create();
    Configure();
    OpenAll();
  }
  void CloseAllByServer() {
    for (std::size_t i = 0; i < engine_devices_.size(); ++i) {
      test::Must(engine_devices_[i]->CloseDevice());
      VDC_Command* command = nullptr;
      if (devices_[i]->GetCommand(-1, &command) != VD_E_CLOSE) {
        MustBeOk(VD_E_UNEXPECTED, "GetCommand of a closed device");
      }
    }
  }
  // A transfer buffer of kBufferSize bytes.
  std::byte* Buffer() { return test::Must(engine_->AllocateBuffer(kBufferSize, 0)); }
  // Why the engine's end considers the set aborted; OK if it does not within the patience.
  Status AwaitAbort() {
    const Deadline patience = test::Patience();
    while (engine_->abort_reason().ok() && !patience.passed()) {
      std::this_thread::yield();
    }
    return engine_->abort_reason();
  }
  // The next command of a device; the engine must have sent it.
  VDC_Command* Next(std::size_t i = 0) {
    VDC_Command* command = nullptr;
    MustBeOk(devices_[i]->GetCommand(-1, &command), "GetCommand");
    return command;
  }

  static VDConfig OneDevice() {
    VDConfig config{};
    config.deviceCount = 1;
    return config;
  }

  // "set", "set2", "set3", ... as the classic calls want it: not const.
  char* name(std::uint32_t i) {
    while (names_.size() < wishes_.deviceCount) {
      names_.push_back("set" + std::to_string(names_.size() + 1));
    }
    return names_[i].data();
  }
  std::string path() const { return folder_.Under("vdi.sock"); }
  const test::TemporaryDirectory& folder() const { return folder_; }

  ClientVirtualDeviceSet& set() { return *set_; }
  ClientVirtualDevice& device(std::size_t i = 0) { return *devices_[i]; }
  VDConfig& wishes() { return wishes_; }
  const VDConfig& config() const { return config_; }
  vdi::Rendezvous& rendezvous() { return *rendezvous_; }
  vdi::ServerDeviceSet& engine() { return *engine_; }
  vdi::ServerDevice& engine_device(std::size_t i = 0) { return *engine_devices_[i]; }

  void DestroySet() { set_.reset(); }
  void DestroyEngine() {
    engine_.reset();
    rendezvous_.reset();
  }

 private:
  const test::TemporaryDirectory folder_;
  const ScopedEnvironment environment_{"CAPSTAN_VDI", folder_.Under("vdi.sock")};
  VDConfig wishes_;
  VDConfig config_{};
  std::vector<std::string> names_{"set"};
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
  std::unique_ptr<vdi::ServerDeviceSet> engine_;
  std::unique_ptr<ClientVirtualDeviceSet> set_ = std::make_unique<ClientVirtualDeviceSet>();
  std::vector<ClientVirtualDevice*> devices_;  // the set's
  std::vector<vdi::ServerDevice*> engine_devices_;
};

}  // namespace capstan::sqlvdi
