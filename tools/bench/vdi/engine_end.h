// EngineEnd: an engine that keeps the devices of one set busy, against a client in another process.
//
// The callback of a command sends the next one, so that one thread of the engine does all the work,
// as in a backup whose bottleneck is the device.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "vdi/rendezvous.h"
#include "vdi/server_device_set.h"

namespace capstan::vdi {

// "bench", "bench1", "bench2", ...
std::vector<std::string> DeviceNames(std::uint32_t device_count);

[[noreturn]] void Die(const Status& status);

// A forked process that runs `work` and is gone when the object is.
class Child {
 public:
  explicit Child(const std::function<void()>& work);
  ~Child() { Stop(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The seconds of processor time that it has used in all.
  double Stop();

 private:
  pid_t pid_;  // 0: stopped
};

class EngineEnd {
 public:
  struct Options {
    std::uint32_t device_count = 1;
    std::uint32_t in_flight = 32;  // per device
    std::uint32_t size = 512;      // bytes of each Write
    bool fill = false;             // touch every byte first, as an engine that reads a file does
    // Runs in the other process: serves DeviceNames() of the set "bench" at the socket `path`.
    std::function<void(const std::string& path, std::uint32_t device_count)> client;
  };
  explicit EngineEnd(Options options);

  // Sends `count` Writes and waits until all are back.
  void Send(std::uint64_t count);

  // Ends the set, and says how many seconds of processor time the client has used, waits by
  // spinning included. No Send afterwards.
  double Finish();

 private:
  struct Flight {
    EngineEnd* engine = nullptr;
    ServerDevice* device = nullptr;
    ServerCommand command;
  };
  void Next(Flight& flight);

  const Options options_;
  const std::string path_;
  Child client_;  // forked before there are threads
  const std::unique_ptr<Rendezvous> rendezvous_;
  const std::unique_ptr<ServerDeviceSet> set_;
  std::vector<Flight> flights_;
  std::atomic<std::int64_t> left_{0};
  std::atomic<std::uint64_t> ended_{0};
};

}  // namespace capstan::vdi
