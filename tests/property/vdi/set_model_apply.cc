// What a call that succeeded (or whose failure has an effect) changes in the model.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "tests/property/vdi/set_model.h"

namespace capstan::vdi {

void SetModel::Apply(const Step& step) {
  const Answer answer = Expect(step).value();
  const bool closes = step.call == Call::kClientClose || step.call == Call::kSecondaryClose ||
                      step.call == Call::kServerClose;
  // GetCommand refuses what is queued in IO-ERROR even when nothing is left to deliver.
  const bool polls = step.call == Call::kClientGetCommand &&
                     (answer.code == Code::kOk || answer.code == Code::kDeadlineExceeded);
  if (answer.code == Code::kOk || polls || (closes && server_ != ServerState::kClosed) ||
      (closes && step.call != Call::kServerClose)) {
    step.call < Call::kServerOpen ? ApplyOfClients(step) : ApplyOfServer(step);
    Refresh();
  }
}

void SetModel::ApplyOfClients(const Step& step) {
  Device& device = devices_[step.device];
  switch (step.call) {
    case Call::kClientCreate: {
      auto ended = std::move(ended_);
      *this = SetModel();
      ended_ = std::move(ended);
      client_ = ClientState::kConfigurable;
      registered_ = true;
      break;
    }
    case Call::kClientOpenDevice:
      device.holder = Holder::kClient;
      break;
    case Call::kClientGetCommand:
      ApplyGetCommand(device);
      break;
    case Call::kClientComplete:
      ApplyComplete(device, 0, CompletionCode::kSuccess);
      break;
    case Call::kClientCompleteNewest:
      ApplyComplete(device, device.taken.size() - 1, CompletionCode::kSuccess);
      break;
    case Call::kClientFail:
      ApplyComplete(device, 0, CompletionCode::kDiskFull);
      break;
    case Call::kClientSignalAbort:
      if (client_ != ClientState::kAbort) {  // otherwise there is nobody to tell
        AbortByClient();
        client_ = ClientState::kAbort;
      }
      break;
    case Call::kClientClose:
      CloseClient();
      break;
    case Call::kSecondaryJoin:
      secondary_ = true;
      secondary_aborted_ = false;
      break;
    case Call::kSecondaryOpenDevice:
      device.holder = Holder::kSecondary;
      break;
    case Call::kSecondaryClose:
      CloseSecondary();
      break;
    default:
      break;
  }
}

void SetModel::ApplyOfServer(const Step& step) {
  Device& device = devices_[step.device];
  const auto send = [&](CommandCode code) {
    device.queued.push_back({.number = ended_.size(), .code = code});
    ended_.emplace_back();
  };
  switch (step.call) {
    case Call::kServerOpen:
      server_ = ServerState::kConnected;
      break;
    case Call::kServerBeginConfiguration:
      server_ = ServerState::kConfigurable;
      break;
    case Call::kServerRequestBuffers:
      if (server_ == ServerState::kConfigurable) {
        requested_ += kModelBuffers;
      } else {
        buffers_ += kModelBuffers;
        ++areas_;
      }
      break;
    case Call::kServerEndConfiguration:
      server_ = ServerState::kInitializing;
      client_ = ClientState::kInitializing;
      buffers_ = requested_;
      areas_ = requested_ > 0 ? 1 : 0;
      break;
    case Call::kServerAllocateBuffer:
      ++allocated_;
      break;
    case Call::kServerFreeBuffer:
      --allocated_;
      break;
    case Call::kServerOpenDevice:
      device.server_open = true;
      server_ = ServerState::kActive;
      break;
    case Call::kServerSendWrite:
      send(CommandCode::kWrite);
      break;
    case Call::kServerSendFlush:
      send(CommandCode::kFlush);
      break;
    case Call::kServerSendClearError:
      send(CommandCode::kClearError);
      break;
    case Call::kServerCloseDevice:
      device.server_closed = true;
      if (std::all_of(devices_.begin(), devices_.end(),
                      [](const Device& one) { return one.server_closed; })) {
        server_ = ServerState::kTerminated;
      }
      break;
    case Call::kServerSignalAbort:
      if (server_ != ServerState::kClosed) {
        AbortServer();
      }
      break;
    case Call::kServerClose:
      CloseServer();
      break;
    default:
      break;
  }
}

void SetModel::CloseServer() {
  if (server_ != ServerState::kTerminated) {
    AbortServer();
  }
  server_ = ServerState::kClosed;
  registered_ = false;
  buffers_ = 0;
  allocated_ = 0;
}

void SetModel::ApplyGetCommand(Device& device) {
  while (!device.queued.empty()) {
    const Command command = device.queued.front();
    const bool clears = command.code == CommandCode::kClearError;
    if (clears && !device.taken.empty()) {
      return;  // held back until all that was delivered before is completed
    }
    device.queued.pop_front();
    if (!device.io_error || clears) {
      device.taken.push_back(command);
      return;
    }
    ended_[command.number] = CompletionCode::kIoDevice;
  }
  device.close_seen = device.server_closed;
}

void SetModel::ApplyComplete(Device& device, std::size_t index, CompletionCode code) {
  const Command command = device.taken[index];
  device.taken.erase(device.taken.begin() + static_cast<std::ptrdiff_t>(index));
  ended_[command.number] = code;
  if (code != CompletionCode::kSuccess || command.code == CommandCode::kClearError) {
    device.io_error = code != CompletionCode::kSuccess;
  }
}

void SetModel::CloseClient() {
  // A set that nobody has terminated ends with its primary.
  AbortByClient();
  client_ = ClientState::kNone;
  for (Device& device : devices_) {
    if (device.holder == Holder::kClient) {
      device.holder = Holder::kGone;
    }
  }
}

void SetModel::CloseSecondary() {
  if (!secondary_aborted_ && LeavesOpen(Holder::kSecondary) &&
      server_ != ServerState::kTerminated) {
    AbortServer();
  }
  secondary_ = false;
  for (Device& device : devices_) {
    if (device.holder == Holder::kSecondary) {
      device.holder = Holder::kGone;
    }
  }
}

void SetModel::AbortByClient() {
  registered_ = false;
  if (server_ != ServerState::kTerminated && server_ != ServerState::kClosed &&
      server_ != ServerState::kNone) {
    AbortServer();
  }
}

void SetModel::AbortServer() {
  if (server_ == ServerState::kAbort) {
    return;
  }
  server_ = ServerState::kAbort;
  aborted_ = true;
  if (client_ != ClientState::kNone) {
    client_ = ClientState::kAbort;
  }
  secondary_aborted_ |= secondary_;
  for (Device& device : devices_) {
    for (auto* commands : {&device.queued, &device.taken}) {
      for (const Command& command : *commands) {
        ended_[command.number] = CompletionCode::kOperationAborted;
      }
      commands->clear();
    }
  }
}

// The client's state is that of its devices.
void SetModel::Refresh() {
  if (client_ <= ClientState::kConfigurable || client_ == ClientState::kAbort) {
    return;
  }
  const auto seen = [](const Device& device) { return device.close_seen; };
  const auto held = [](const Device& device) { return device.holder != Holder::kNobody; };
  client_ = std::all_of(devices_.begin(), devices_.end(), seen)   ? ClientState::kTerminated
            : std::any_of(devices_.begin(), devices_.end(), held) ? ClientState::kActive
                                                                  : ClientState::kInitializing;
}

std::string ToString(const Step& step) {
  static constexpr const char* kText[] = {
      "client = ClientDeviceSet::Create(path, name, {{.device_count = 2}})",
      "client->GetConfiguration(Deadline::Now())",
      "client_device[{0}] = client->OpenDevice(name[{0}])",
      "client->OpenDevice(\"unknown\")",
      "client_device[{0}]->GetCommand(Deadline::Now())",
      "client_device[{0}]->CompleteCommand(oldest, kSuccess, 0, 0)",
      "client_device[{0}]->CompleteCommand(newest, kSuccess, 0, 0)",
      "client_device[{0}]->CompleteCommand(oldest, kDiskFull, 0, 0)",
      "client_device[{0}]->CompleteCommand(unknown, kSuccess, 0, 0)",
      "client->SignalAbort()",
      "client->Close()",
      "secondary = ClientDeviceSet::OpenInSecondary(path, name)",
      "client_device[{0}] = secondary->OpenDevice(name[{0}])",
      "secondary->Close()",
      "server = rendezvous->Open(name, Deadline::Now())",
      "server->BeginConfiguration({{.added_features = feature::kWriteMedia}})",
      "server->RequestBuffers(65536, 0, 2)",
      "server->QueryAvailableBuffers(65536, 0)",
      "server->EndConfiguration(names)",
      "buffers.push_back(server->AllocateBuffer(65536, 0))",
      "server->FreeBuffer(pop(buffers))",
      "server_device[{0}] = server->OpenDevice(name[{0}], patience)",
      "server->OpenDevice(\"unknown\", patience)",
      "server_device[{0}]->SendCommand(kWrite)",
      "server_device[{0}]->SendCommand(kFlush)",
      "server_device[{0}]->SendCommand(kClearError)",
      "server_device[{0}]->SendCommand(kRewind)",
      "server_device[{0}]->CloseDevice()",
      "server->SignalAbort(why)",
      "server->Close()",
  };
  static_assert(std::size(kText) == kCallCount);
  return fmt::format(fmt::runtime(kText[static_cast<int>(step.call)]), step.device) + ";";
}

std::string ToString(const Answer& answer) {
  if (answer.buffers) {
    return fmt::format("OK with {} buffers", *answer.buffers);
  }
  if (answer.code != Code::kOk || !answer.command) {
    return std::string(CodeName(answer.code));
  }
  return fmt::format("OK with {}", CommandName(*answer.command));
}

}  // namespace capstan::vdi
