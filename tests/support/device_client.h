// DeviceClient: a well-behaved client of a device set, run on threads inside a test.
//
//   MemoryMedia media(2);
//   DeviceClient client(rendezvous_path, "set", {.device_count = 2}, media.handlers());
//   ... the engine opens "set", configures it, backs up ...
//   EXPECT_THAT(client.Finish(), IsOk());
//   EXPECT_EQ(media.bytes(0), expected);
//
// One thread waits for the configuration and opens the devices; one thread per device executes its
// commands, one after the other. Handlers are called on those threads, never two at a time for the
// same device. ThreadSanitizer does not see that a command was sent before its handler runs (the
// two ends map the segment at two addresses): what a handler shares with the test must be atomic or
// locked.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/client_device_set.h"

namespace capstan::test {

// How a handler says that a command ended.
struct Outcome {
  vdi::CompletionCode code = vdi::CompletionCode::kSuccess;
  std::uint32_t bytes = 0;
  std::int64_t position = 0;
};

// What to do for each kind of command. An empty one succeeds (Flush, Complete, ClearError) or is
// not supported (everything else). `device` is the index of the device.
struct DeviceHandlers {
  using Handler = std::function<Outcome(std::size_t device, const vdi::ClientCommand& command)>;
  Handler read;
  Handler write;
  Handler flush;
  Handler complete;
  Handler other;  // every command that has no handler of its own, ClearError included
};

// Keeps what is written to each device in memory and reads it back from the beginning.
class MemoryMedia {
 public:
  explicit MemoryMedia(std::size_t device_count) : devices_(device_count) {}

  // The media must outlive the handlers.
  DeviceHandlers handlers() {
    DeviceHandlers handlers;
    handlers.read = [this](std::size_t device, const vdi::ClientCommand& command) {
      return Read(devices_[device], command);
    };
    handlers.write = [this](std::size_t device, const vdi::ClientCommand& command) {
      return Write(devices_[device], command);
    };
    return handlers;
  }

  // Not while a client works on the device.
  std::vector<std::byte>& bytes(std::size_t device) { return devices_[device].bytes; }
  void Rewind() {
    for (Device& device : devices_) {
      device.position = 0;
    }
  }
  // Writes beyond this many bytes per device end with 112. Any time.
  void set_capacity(std::size_t capacity) { capacity_ = capacity; }

 private:
  struct Device {
    std::vector<std::byte> bytes;
    std::size_t position = 0;  // of the next Read
  };

  static Outcome Read(Device& device, const vdi::ClientCommand& command) {
    const std::size_t left = device.bytes.size() - std::min(device.position, device.bytes.size());
    const std::size_t count = std::min<std::size_t>(left, command.size);
    std::copy_n(device.bytes.data() + device.position, count, command.buffer);
    device.position += count;
    return {.code = count == command.size ? vdi::CompletionCode::kSuccess
                                          : vdi::CompletionCode::kHandleEof,
            .bytes = static_cast<std::uint32_t>(count)};
  }

  Outcome Write(Device& device, const vdi::ClientCommand& command) const {
    const std::size_t capacity = capacity_;
    const std::size_t room = capacity - std::min(capacity, device.bytes.size());
    const std::size_t count = std::min<std::size_t>(room, command.size);
    device.bytes.insert(device.bytes.end(), command.buffer, command.buffer + count);
    return {.code = count == command.size ? vdi::CompletionCode::kSuccess
                                          : vdi::CompletionCode::kDiskFull,
            .bytes = static_cast<std::uint32_t>(count)};
  }

  std::vector<Device> devices_;
  std::atomic<std::size_t> capacity_{SIZE_MAX};
};

class DeviceClient {
 public:
  // Creates the set; created() says how that went. Waits for nothing.
  DeviceClient(const std::string& rendezvous_path, const std::string& name,
               const vdi::DeviceSetConfig& wishes, DeviceHandlers handlers,
               std::vector<std::string> device_names = {})
      : handlers_(std::move(handlers)), names_(std::move(device_names)) {
    if (names_.empty()) {
      names_.push_back(name);
      for (std::uint32_t i = 1; i < wishes.device_count; ++i) {
        names_.push_back(name + std::to_string(i + 1));
      }
    }
    auto set = vdi::ClientDeviceSet::Create(rendezvous_path, name, wishes);
    if (!set.ok()) {
      created_ = std::move(set).status();
      return;
    }
    set_ = std::move(set).value();
    thread_ = std::jthread([this] { Run(); });
  }
  ~DeviceClient() {
    if (set_) {
      set_->SignalAbort();
      [[maybe_unused]] const Status ended = Finish();
    }
  }
  DeviceClient(const DeviceClient&) = delete;
  DeviceClient& operator=(const DeviceClient&) = delete;

  const Status& created() const { return created_; }
  // The names the engine must give in EndConfiguration: the set's, then name2, name3, ...
  const std::vector<std::string>& device_names() const { return names_; }
  vdi::ClientDeviceSet& set() { return *set_; }

  // Waits until the engine has ended every device, and closes. The first failure of any of them.
  Status Finish() {
    if (thread_.joinable()) {
      thread_.join();
    }
    if (!created_.ok()) {
      return created_;
    }
    Note(set_->Close());
    MutexLock lock(mutex_);
    return failed_;
  }

 private:
  void Run() {
    // Abort and the engine's death end this wait.
    const auto configured = set_->GetConfiguration(Deadline::Never());
    if (!configured.ok()) {
      Note(configured.status());
      return;
    }
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      auto device = set_->OpenDevice(names_[i]);
      if (!device.ok()) {
        Note(device.status());
        set_->SignalAbort();
        return;
      }
      threads.emplace_back([this, i, opened = *device] { Serve(i, *opened); });
    }
  }

  void Serve(std::size_t index, vdi::ClientDevice& device) {
    for (;;) {
      auto command = device.GetCommand(Deadline::Never());  // as above
      if (!command.ok()) {
        Note(command.status());
        return;
      }
      if (!command->has_value()) {
        return;
      }
      const vdi::ClientCommand& order = **command;
      const Outcome outcome = Execute(index, order);
      Status completed =
          device.CompleteCommand(order.id, outcome.code, outcome.bytes, outcome.position);
      if (!completed.ok()) {
        Note(std::move(completed));
        return;
      }
    }
  }

  Outcome Execute(std::size_t index, const vdi::ClientCommand& command) {
    using vdi::CommandCode;
    const DeviceHandlers::Handler* handler = &handlers_.other;
    bool succeeds = command.code == CommandCode::kClearError;
    if (command.code == CommandCode::kRead) {
      handler = &handlers_.read;
    } else if (command.code == CommandCode::kWrite) {
      handler = &handlers_.write;
    } else if (command.code == CommandCode::kFlush) {
      handler = &handlers_.flush;
      succeeds = true;
    } else if (command.code == CommandCode::kComplete) {
      handler = &handlers_.complete;
      succeeds = true;
    }
    if (*handler) {
      return (*handler)(index, command);
    }
    return {.code = succeeds ? vdi::CompletionCode::kSuccess : vdi::CompletionCode::kNotSupported};
  }

  void Note(Status status) {
    MutexLock lock(mutex_);
    if (failed_.ok()) {
      failed_ = std::move(status);
    }
  }

  const DeviceHandlers handlers_;
  std::vector<std::string> names_;
  Status created_;
  std::unique_ptr<vdi::ClientDeviceSet> set_;

  Mutex mutex_;
  Status failed_ CAPSTAN_GUARDED_BY(mutex_);

  std::jthread thread_;  // waits for the configuration; starts and joins one per device
};

}  // namespace capstan::test
