// BusyEngine: the engine's part of a set under load: writes without end, as many as fit.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/device_set_pair.h"
#include "vdi/server_device_set.h"

namespace capstan::vdi {

class BusyEngine {
 public:
  static constexpr std::uint32_t kSize = 65536;

  explicit BusyEngine(ServerDeviceSet& set) : set_(set) {}

  // Until the set ends; never OK.
  Status Run() {
    CAPSTAN_RETURN_IF_ERROR(set_.BeginConfiguration({.added_features = feature::kWriteMedia}));
    CAPSTAN_RETURN_IF_ERROR(set_.RequestBuffers(kSize, 0, 4));
    CAPSTAN_RETURN_IF_ERROR(set_.EndConfiguration(std::vector<std::string>{set_.name()}));
    CAPSTAN_ASSIGN_OR_RETURN(ServerDevice * device, set_.OpenDevice(set_.name(), test::Patience()));
    for (;;) {
      auto buffer = set_.AllocateBuffer(kSize, 0);
      if (!buffer.ok() && buffer.status().code() == Code::kResourceExhausted) {
        std::this_thread::yield();
        continue;
      }
      CAPSTAN_RETURN_IF_ERROR(buffer.status());
      auto command = std::make_unique<ServerCommand>();
      command->code = CommandCode::kWrite;
      command->size = kSize;
      command->buffer = *buffer;
      command->completion_context = this;
      command->completion_routine = &BusyEngine::OnEnd;
      CAPSTAN_RETURN_IF_ERROR(device->SendCommand(command.get()));
      [[maybe_unused]] const ServerCommand* in_flight = command.release();  // until the routine
      ++sent_;
    }
  }
  std::uint64_t sent() const { return sent_; }
  std::uint64_t ended() const { return ended_; }

 private:
  static void OnEnd(ServerCommand* ended) {
    auto* self = static_cast<BusyEngine*>(ended->completion_context);
    test::Must(self->set_.FreeBuffer(ended->buffer));
    delete ended;
    ++self->ended_;
  }

  ServerDeviceSet& set_;
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> ended_{0};
};

}  // namespace capstan::vdi
