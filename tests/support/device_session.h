// Everything that the two ends of a device set do with each other, once: what a victim and its
// survivor run against one another, so that a session passes every crash point of either end.
//
// The engine sends every kind of command, one after the other, then two writes of which the first
// fails and the second is therefore refused, then ClearError, a write from a further buffer area
// and a last Flush; then it closes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/device_set_pair.h"
#include "vdi/client_device_set.h"
#include "vdi/configuration.h"
#include "vdi/server_device_set.h"

namespace capstan::vdi {

inline constexpr std::uint32_t kSessionBufferSize = 65536;
inline constexpr std::uint32_t kSessionBuffers = 4;
// In the first bytes of a buffer: the write is to fail as soon as the next one has been sent.
inline constexpr std::uint32_t kFailThis = 0xFA11;
inline constexpr std::uint32_t kFailThisNow = 0xFA12;

enum class Ending { kClose, kAbort };

inline DeviceSetConfig SessionWishes() {
  return {.device_count = 1,
          .features = feature::kLikeTape | feature::kDiscard | feature::kSnapshotPrepare |
                      feature::kEnumFrozenFiles | feature::kVssWriter | feature::kRequestComplete};
}

// Every command that there is a client for.
inline std::vector<CommandCode> AllCommands() {
  std::vector<CommandCode> codes;
  for (auto code = static_cast<std::int32_t>(CommandCode::kRead);
       code <= static_cast<std::int32_t>(CommandCode::kComplete); ++code) {
    if (OffersCommand(SessionWishes().features | feature::kCompleteEnabled,
                      static_cast<CommandCode>(code))) {
      codes.push_back(static_cast<CommandCode>(code));
    }
  }
  return codes;
}

inline std::atomic_ref<std::uint32_t> MarkOf(std::byte* buffer) {
  return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(buffer));
}

// --- the client ---

// Executes commands until the engine closes the device.
inline Status ServeDevice(ClientDevice& device, ClientDeviceSet& set, Ending ending) {
  for (;;) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<ClientCommand> command,
                             device.GetCommand(test::Patience()));
    if (!command) {
      return OkStatus();
    }
    if (ending == Ending::kAbort && command->code == CommandCode::kFlush) {
      set.SignalAbort();
      return set.abort_reason();
    }
    const bool transfer =
        command->code == CommandCode::kRead || command->code == CommandCode::kWrite;
    bool fails = false;
    if (command->code == CommandCode::kWrite) {
      const auto mark = MarkOf(command->buffer);
      while (mark.load() == kFailThis && set.abort_reason().ok()) {
      }
      fails = mark.load() == kFailThisNow;
    }
    CAPSTAN_RETURN_IF_ERROR(device.CompleteCommand(
        command->id, fails ? CompletionCode::kDiskFull : CompletionCode::kSuccess,
        transfer && !fails ? command->size : 0, 0));
  }
}

// The whole life of a client. What ended it, OK in good order.
inline Status RunClient(const std::string& path, const std::string& name, Ending ending) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto set, ClientDeviceSet::Create(path, name, SessionWishes()));
  const auto serve = [&]() -> Status {
    CAPSTAN_RETURN_IF_ERROR(set->GetConfiguration(test::Patience()).status());
    CAPSTAN_ASSIGN_OR_RETURN(ClientDevice * device, set->OpenDevice(name));
    return ServeDevice(*device, *set, ending);
  };
  Status served = serve();
  Status closed = set->Close();
  return served.ok() ? closed : served;
}

// A secondary, whose set is configured already.
inline Status RunSecondary(const std::string& path, const std::string& name) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto set, ClientDeviceSet::OpenInSecondary(path, name));
  auto device = set->OpenDevice(name);
  Status served =
      device.ok() ? ServeDevice(**device, *set, Ending::kClose) : std::move(device).status();
  Status closed = set->Close();
  return served.ok() ? closed : served;
}

// A primary that leaves its device to `secondary`, and ends the set if that fails.
template <typename Secondary>
Status RunPrimary(const std::string& path, const std::string& name, const Secondary& secondary) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto set, ClientDeviceSet::Create(path, name, SessionWishes()));
  const Status configured = set->GetConfiguration(test::Patience()).status();
  Status served = configured.ok() ? secondary() : configured;
  if (!served.ok()) {
    set->SignalAbort();
  }
  Status closed = set->Close();
  return served.ok() ? closed : served;
}

// --- the engine ---

// What became of the commands of a session.
struct Tally {
  int sent = 0;
  int ended = 0;
  int aborted = 0;  // of the ended ones, with 995
};

class EngineSession {
 public:
  EngineSession(ServerDeviceSet& set, Ending ending) : set_(set), ending_(ending) {}

  // Returns when the set is over and every command has ended.
  Status Run() {
    Status status = Work();
    if (status.ok() && ending_ == Ending::kAbort) {
      set_.SignalAbort(Error(Code::kAborted, "the session is to end so"));
      status = set_.abort_reason();
    }
    for (std::byte* buffer : buffers_) {
      test::Must(set_.FreeBuffer(buffer));  // in every state
    }
    return status;
  }
  const Tally& tally() const { return tally_; }

 private:
  Status Work() {
    CAPSTAN_RETURN_IF_ERROR(set_.BeginConfiguration(
        {.added_features = feature::kWriteMedia | feature::kCompleteEnabled}));
    CAPSTAN_RETURN_IF_ERROR(set_.RequestBuffers(kSessionBufferSize, 0, kSessionBuffers));
    CAPSTAN_RETURN_IF_ERROR(set_.EndConfiguration(std::vector<std::string>{set_.name()}));
    for (std::uint32_t i = 0; i < kSessionBuffers; ++i) {
      CAPSTAN_ASSIGN_OR_RETURN(std::byte * buffer, set_.AllocateBuffer(kSessionBufferSize, 0));
      buffers_.push_back(buffer);
    }
    CAPSTAN_ASSIGN_OR_RETURN(device_, set_.OpenDevice(set_.name(), test::Patience()));
    for (const CommandCode code : AllCommands()) {
      CAPSTAN_RETURN_IF_ERROR(Execute(code, CompletionCode::kSuccess));
    }
    CAPSTAN_RETURN_IF_ERROR(FailAndRecover());
    CAPSTAN_RETURN_IF_ERROR(UseFurtherArea());
    CAPSTAN_RETURN_IF_ERROR(Execute(CommandCode::kFlush, CompletionCode::kSuccess));
    return ending_ == Ending::kAbort ? OkStatus() : device_->CloseDevice();
  }

  Status Execute(CommandCode code, CompletionCode expected) {
    test::AwaitedCommand command(code, buffers_[0], kSessionBufferSize);
    CAPSTAN_RETURN_IF_ERROR(Send(command));
    return Await(command, expected);
  }

  Status FailAndRecover() {
    test::AwaitedCommand first(CommandCode::kWrite, buffers_[1], kSessionBufferSize);
    test::AwaitedCommand second(CommandCode::kWrite, buffers_[2], kSessionBufferSize);
    MarkOf(buffers_[1]).store(kFailThis);
    MarkOf(buffers_[2]).store(0);
    CAPSTAN_RETURN_IF_ERROR(Send(first));
    const Status sent = Send(second);
    MarkOf(buffers_[1]).store(kFailThisNow);
    const Status failed = Await(first, CompletionCode::kDiskFull);
    CAPSTAN_RETURN_IF_ERROR(sent);
    const Status refused = Await(second, CompletionCode::kIoDevice);
    CAPSTAN_RETURN_IF_ERROR(failed);
    CAPSTAN_RETURN_IF_ERROR(refused);
    return Execute(CommandCode::kClearError, CompletionCode::kSuccess);
  }

  // All buffers are taken, so the next one comes from an area of its own.
  Status UseFurtherArea() {
    CAPSTAN_RETURN_IF_ERROR(set_.RequestBuffers(kSessionBufferSize, 0, 1));
    CAPSTAN_ASSIGN_OR_RETURN(std::byte * buffer, set_.AllocateBuffer(kSessionBufferSize, 0));
    buffers_.push_back(buffer);
    test::AwaitedCommand command(CommandCode::kWrite, buffer, kSessionBufferSize);
    CAPSTAN_RETURN_IF_ERROR(Send(command));
    return Await(command, CompletionCode::kSuccess);
  }

  Status Send(test::AwaitedCommand& command) {
    CAPSTAN_RETURN_IF_ERROR(device_->SendCommand(command.get()));
    ++tally_.sent;
    return OkStatus();
  }

  Status Await(test::AwaitedCommand& command, CompletionCode expected) {
    const CompletionCode code = command.Await().completion_code;
    ++tally_.ended;
    if (code == expected) {
      return OkStatus();
    }
    if (code != CompletionCode::kOperationAborted) {
      return Error(Code::kInternal, "a command ended with {}", static_cast<int>(code));
    }
    ++tally_.aborted;
    return Error(Code::kAborted, "a command ended with 995");
  }

  ServerDeviceSet& set_;
  const Ending ending_;
  ServerDevice* device_ = nullptr;
  std::vector<std::byte*> buffers_;
  Tally tally_;
};

}  // namespace capstan::vdi
