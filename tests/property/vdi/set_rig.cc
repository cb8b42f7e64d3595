#include "tests/property/vdi/set_rig.h"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "vdi/base/clock.h"

namespace capstan::vdi {
namespace {

constexpr std::uint32_t kBufferSize = 65536;
constexpr std::uint32_t kWriteSize = 512;

// Only a failing sequence waits so long. Every step has threads of both ends tell each other, and a
// machine with other work may let one of them wait for seconds.
Deadline Patience() {
  return Deadline::After(std::chrono::seconds(30));
}

template <typename T>
Answer AnswerOf(const Result<T>& result) {
  return {result.status().code()};
}
Answer AnswerOf(const Status& status) {
  return {status.code()};
}

}  // namespace

SetRig::SetRig(Rendezvous& rendezvous, std::string name)
    : rendezvous_(rendezvous), name_(std::move(name)) {
  device_names_.push_back(name_);
  for (std::size_t i = 1; i < kModelDevices; ++i) {
    device_names_.push_back(name_ + "-" + std::to_string(i + 1));
  }
}

// The engine first: it calls back into sent_.
SetRig::~SetRig() {
  server_.reset();
  secondary_.reset();
  client_.reset();
}

Answer SetRig::Make(const Step& step) {
  const auto make = [&] {
    return step.call < Call::kServerOpen ? MakeOfClients(step) : MakeOfServer(step);
  };
  Answer answer;
  if (sent_.size() % 8 == 7) {  // on a thread that has never seen the set
    std::jthread([&] { answer = make(); }).join();
  } else {
    answer = make();
  }
  return answer;
}

Answer SetRig::MakeOfClients(const Step& step) {
  switch (step.call) {
    case Call::kClientCreate: {
      auto created =
          ClientDeviceSet::Create(rendezvous_.path(), name_, {.device_count = kModelDevices});
      const Answer answer = AnswerOf(created);
      if (created.ok()) {
        server_.reset();
        client_ = std::move(created).value();
        client_devices_ = {};
        server_devices_ = {};
        taken_ = {};
        buffers_.clear();
      }
      return answer;
    }
    case Call::kClientGetConfiguration:
      return AnswerOf(client_->GetConfiguration(Deadline::Now()));
    case Call::kClientOpenDevice:
      return Open(client_->OpenDevice(device_names_[step.device]), step.device);
    case Call::kClientOpenUnknown:
      return AnswerOf(client_->OpenDevice("unknown"));
    case Call::kClientGetCommand:
      return GetCommand(step.device);
    case Call::kClientSignalAbort:
      client_->SignalAbort();
      return {};
    case Call::kClientClose:
      return AnswerOf(client_->Close());
    case Call::kSecondaryJoin: {
      auto joined = ClientDeviceSet::OpenInSecondary(rendezvous_.path(), name_);
      const Answer answer = AnswerOf(joined);
      if (joined.ok()) {
        secondary_ = std::move(joined).value();
      }
      return answer;
    }
    case Call::kSecondaryOpenDevice:
      return Open(secondary_->OpenDevice(device_names_[step.device]), step.device);
    case Call::kSecondaryClose:
      return AnswerOf(secondary_->Close());
    default:
      return Complete(step);
  }
}

Answer SetRig::Open(Result<ClientDevice*> opened, std::size_t device) {
  if (opened.ok()) {
    client_devices_[device] = *opened;
  }
  return AnswerOf(opened);
}

Answer SetRig::GetCommand(std::size_t device) {
  const auto got = client_devices_[device]->GetCommand(Deadline::Now());
  if (!got.ok() || !got->has_value()) {
    return AnswerOf(got);
  }
  taken_[device].push_back((*got)->id);
  return {Code::kOk, (*got)->code};
}

Answer SetRig::Complete(const Step& step) {
  ClientDevice& device = *client_devices_[step.device];
  std::deque<std::uint64_t>& taken = taken_[step.device];
  if (step.call == Call::kClientCompleteUnknown) {
    return AnswerOf(device.CompleteCommand(0x7777, CompletionCode::kSuccess, 0, 0));
  }
  const auto which = step.call == Call::kClientCompleteNewest ? taken.end() - 1 : taken.begin();
  const auto code =
      step.call == Call::kClientFail ? CompletionCode::kDiskFull : CompletionCode::kSuccess;
  const Answer answer = AnswerOf(device.CompleteCommand(*which, code, 0, 0));
  if (answer.code == Code::kOk) {
    taken.erase(which);
  }
  return answer;
}

Answer SetRig::MakeOfServer(const Step& step) {
  ServerDevice* const device = server_devices_[step.device];
  switch (step.call) {
    case Call::kServerOpen: {
      auto opened = rendezvous_.Open(name_, Deadline::Now());
      const Answer answer = AnswerOf(opened);
      if (opened.ok()) {
        server_ = std::move(opened).value();
      }
      return answer;
    }
    case Call::kServerBeginConfiguration:
      return AnswerOf(server_->BeginConfiguration({.added_features = feature::kWriteMedia,
                                                   .block_size = kWriteSize,
                                                   .max_transfer_size = kBufferSize}));
    case Call::kServerRequestBuffers:
      return AnswerOf(server_->RequestBuffers(kBufferSize, 0, kModelBuffers));
    case Call::kServerQueryBuffers: {
      const auto available = server_->QueryAvailableBuffers(kBufferSize, 0);
      Answer answer = AnswerOf(available);
      if (available.ok()) {
        answer.buffers = *available;
      }
      return answer;
    }
    case Call::kServerEndConfiguration:
      return AnswerOf(server_->EndConfiguration(device_names_));
    case Call::kServerAllocateBuffer: {
      const auto buffer = server_->AllocateBuffer(kBufferSize, 0);
      if (buffer.ok()) {
        buffers_.push_back(*buffer);
      }
      return AnswerOf(buffer);
    }
    case Call::kServerFreeBuffer: {
      std::byte* const buffer = buffers_.empty() ? nullptr : buffers_.back();
      const Answer answer = AnswerOf(server_->FreeBuffer(buffer));
      if (answer.code == Code::kOk) {
        buffers_.pop_back();
      }
      return answer;
    }
    case Call::kServerOpenDevice:
      return OpenOnServer(step.device, device_names_[step.device]);
    case Call::kServerOpenUnknown:
      return OpenOnServer(step.device, "unknown");
    case Call::kServerSendWrite:
      return Send(step.device, CommandCode::kWrite);
    case Call::kServerSendFlush:
      return Send(step.device, CommandCode::kFlush);
    case Call::kServerSendClearError:
      return Send(step.device, CommandCode::kClearError);
    case Call::kServerSendRewind:
      return Send(step.device, CommandCode::kRewind);
    case Call::kServerCloseDevice:
      return AnswerOf(device->CloseDevice());
    case Call::kServerSignalAbort:
      server_->SignalAbort(Error(Code::kCancelled, "the sequence says so"));
      return {};
    default: {
      const Answer answer = AnswerOf(server_->Close());
      buffers_.clear();
      return answer;
    }
  }
}

Answer SetRig::OpenOnServer(std::size_t device, std::string_view name) {
  const bool will_come = client_devices_[device] != nullptr;
  auto opened = server_->OpenDevice(name, will_come ? Patience() : Deadline::Now());
  if (opened.ok()) {
    server_devices_[device] = *opened;
  }
  return AnswerOf(opened);
}

Answer SetRig::Send(std::size_t device, CommandCode code) {
  auto sent = std::make_unique<Sent>();
  const bool writes = code == CommandCode::kWrite;
  sent->command = {.code = code,
                   .size = writes ? kWriteSize : 0,
                   .buffer = writes && !buffers_.empty() ? buffers_.back() : nullptr,
                   .completion_routine =
                       [](ServerCommand* ended) {
                         static_cast<Sent*>(ended->completion_context)->called_back.fetch_add(1);
                       },
                   .completion_context = sent.get()};
  const Answer answer = AnswerOf(server_devices_[device]->SendCommand(&sent->command));
  if (answer.code == Code::kOk) {
    sent_.push_back(std::move(sent));
  }
  return answer;
}

std::string SetRig::Compare(const SetModel& model) {
  if (model.configured()) {
    // The news of the configuration; the model has it.
    [[maybe_unused]] const auto config = client_->GetConfiguration(Patience());
  }
  const Deadline news = Patience();
  for (;;) {
    std::string wrong = CompareCommands(model);
    if (wrong.empty()) {
      wrong = CompareAborts(model);
    }
    if (wrong.empty() || news.passed()) {
      return wrong;
    }
    std::this_thread::yield();
  }
}

std::string SetRig::CompareCommands(const SetModel& model) const {
  for (std::size_t i = 0; i < sent_.size(); ++i) {
    const auto& expected = model.ended()[i];
    const int count = sent_[i]->called_back.load();
    if (count != (expected ? 1 : 0)) {
      return fmt::format("command {} was called back {} times", i, count);
    }
    if (expected && sent_[i]->command.completion_code != *expected) {
      return fmt::format("command {} ended with {} instead of {}", i,
                         static_cast<int>(sent_[i]->command.completion_code),
                         static_cast<int>(*expected));
    }
  }
  return "";
}

std::string SetRig::CompareAborts(const SetModel& model) const {
  const auto check = [](const char* who, bool expected, const auto& set) -> std::string {
    const Status reason = set ? set->abort_reason() : OkStatus();
    return set == nullptr || reason.ok() != expected
               ? ""
               : fmt::format("{} {} an abort ({})", who,
                             expected ? "has not heard of" : "speaks of", reason.ToString());
  };
  std::string wrong = model.client_exists() ? check("client", model.client_aborted(), client_) : "";
  if (wrong.empty() && model.secondary_exists()) {
    wrong = check("secondary", model.secondary_aborted(), secondary_);
  }
  if (wrong.empty()) {
    wrong = check("server", model.server_aborted(), server_);
  }
  if (wrong.empty() && !model.registered()) {
    const auto known = rendezvous_.List();
    if (std::any_of(known.begin(), known.end(),
                    [this](const DeviceSetInfo& info) { return info.name == name_; })) {
      return "the rendezvous still knows the set";
    }
  }
  return wrong;
}

}  // namespace capstan::vdi
