// libFuzzer over all that a client can do to the engine: a real rendezvous and a real engine's end
// go through their usual calls while the client, driven by the input, lies on the socket and in
// shared memory. Layout of the input: hostile_steps.h. Set-up bytes:
//   0   number of devices
//   1   features and timeouts the client wishes
//   2   how many of the engine's calls are made before the first step
//   3   bit 0: the client goes first at the end; bit 1: nobody opens the set;
//       upper six bits all set: nobody wakes a sleeper whose word was spoiled
//
// What must hold, whatever the input: no crash and no undefined behaviour; every call returns in
// time; each command that was sent is called back exactly once, and not with more bytes than it
// asked for; nothing is written behind the control area; a second set does its work with the right
// bytes; the name can be used again at once; descriptors, threads and mappings stay as many.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/fuzz/hostile_client.h"
#include "tests/fuzz/hostile_steps.h"
#include "tests/fuzz/witness_set.h"
#include "tests/support/temporary_directory.h"
#include "vdi/base/log.h"

namespace capstan::fuzz {
namespace {

using vdi::CommandCode;

constexpr const char* kSetName = "hostile";
constexpr std::uint32_t kBufferSize = 4096;
constexpr std::uint32_t kBufferCount = 4;
constexpr int kCommandsMax = 600;  // of one input; more than fit a ring

// A command and its end. Freed in its routine: a touch after that is AddressSanitizer's.
struct TrackedCommand {
  vdi::ServerCommand command;
  std::atomic<int>* called_back = nullptr;

  static void OnEnd(vdi::ServerCommand* ended) {
    CAPSTAN_CHECK(ended->bytes_transferred <= ended->size);
    auto* self = static_cast<TrackedCommand*>(ended->completion_context);
    if (ended->code == CommandCode::kRead && ended->bytes_transferred > 0) {
      volatile std::byte last = ended->buffer[ended->bytes_transferred - 1];
      last = static_cast<std::byte>(last);
    }
    CAPSTAN_CHECK(self->called_back->fetch_add(1) == 0);
    delete self;
  }
};

// The engine's end, which does what engines do, in their order. Refusals are in order; crashes,
// hangs and lost commands are not.
class EngineUnderAttack {
 public:
  EngineUnderAttack(vdi::Rendezvous& rendezvous, HostileClient& client, std::uint32_t device_count)
      : rendezvous_(rendezvous), client_(client), called_back_(kCommandsMax) {
    names_.push_back(kSetName);
    for (std::uint32_t i = 1; i < device_count; ++i) {
      names_.push_back("device" + std::to_string(i));
    }
    devices_.resize(device_count);
  }

  // The next of: Open, BeginConfiguration, RequestBuffers, EndConfiguration, AllocateBuffer, and
  // OpenDevice for each.
  void Advance();
  void Send(CommandCode code, const Step& step);
  void SendAlone(const Step& step);
  void CloseDevice(const Step& step);
  void Look();
  void SwapBuffer(const Step& step);
  void Abort();
  // Until the completion thread has nothing to do, or has better things to do than to say so.
  void Settle();
  // Closes what can be closed, then the set, and looks for lost commands.
  void End(bool wake_anyway);

 private:
  void OpenDevice(std::size_t index);
  vdi::ServerDevice* DeviceOf(const Step& step) { return devices_[step.which % devices_.size()]; }

  vdi::Rendezvous& rendezvous_;
  HostileClient& client_;
  std::unique_ptr<vdi::ServerDeviceSet> set_;
  std::vector<std::string> names_;
  std::vector<vdi::ServerDevice*> devices_;
  std::vector<std::byte*> buffers_;
  std::size_t stage_ = 0;
  std::vector<std::atomic<int>> called_back_;
  std::vector<bool> sent_;
};

void EngineUnderAttack::Advance() {
  const CallTimer timer;
  if (!set_) {
    // The client has been told that its set exists: it is found at once, unless it has gone since.
    auto opened = rendezvous_.Open(kSetName, Deadline::Now());
    if (opened.ok()) {
      set_ = std::move(opened).value();
      stage_ = 1;
    }
    return;
  }
  [[maybe_unused]] Status done;
  switch (stage_++) {
    case 1:
      done = set_->BeginConfiguration(
          {.added_features = vdi::feature::kWriteMedia, .block_size = 512});
      break;
    case 2:
      done = set_->RequestBuffers(kBufferSize, 0, kBufferCount);
      break;
    case 3:
      done = set_->EndConfiguration(names_);
      break;
    case 4:
      for (auto buffer = set_->AllocateBuffer(kBufferSize, 0); buffer.ok();
           buffer = set_->AllocateBuffer(kBufferSize, 0)) {
        buffers_.push_back(*buffer);
      }
      break;
    default:
      OpenDevice((stage_ - 6) % devices_.size());
  }
}

void EngineUnderAttack::OpenDevice(std::size_t index) {
  // Waiting for what the client has not done would cost time and show nothing.
  const bool opened_there = client_.area().device(index).client_state.load() != vdi::kClientClosed;
  auto device =
      set_->OpenDevice(names_[index], opened_there ? Deadline::After(std::chrono::milliseconds(2))
                                                   : Deadline::Now());
  if (device.ok()) {
    devices_[index] = *device;
  }
}

void EngineUnderAttack::Send(CommandCode code, const Step& step) {
  vdi::ServerDevice* device = DeviceOf(step);
  if (device == nullptr || buffers_.empty()) {
    return;
  }
  // Several at once now and then: a ring's worth of them is one step.
  const int count = step.where % 16 == 15 ? 300 : 1 + step.where % 4;
  for (int i = 0; i < count && sent_.size() < kCommandsMax; ++i) {
    const CallTimer timer;
    auto tracked = std::make_unique<TrackedCommand>();
    tracked->called_back = &called_back_[sent_.size()];
    tracked->command = {.code = code,
                        .size = 512 * (1 + step.value % 8),
                        .position = step.value,
                        .buffer = buffers_[step.value % buffers_.size()],
                        .completion_routine = TrackedCommand::OnEnd,
                        .completion_context = tracked.get()};
    if (code == CommandCode::kWrite) {
      std::memset(tracked->command.buffer, static_cast<int>(step.value), tracked->command.size);
    }
    TrackedCommand* const flying = tracked.release();
    const bool sent = device->SendCommand(&flying->command).ok();
    sent_.push_back(sent);
    if (!sent) {
      CAPSTAN_CHECK(called_back_[sent_.size() - 1] == 0);
      delete flying;
      return;
    }
  }
}

void EngineUnderAttack::SendAlone(const Step& step) {
  static constexpr CommandCode kCodes[] = {CommandCode::kClearError, CommandCode::kFlush,
                                           CommandCode::kComplete,   CommandCode::kGetPosition,
                                           CommandCode::kRewind,     CommandCode::kSnapshot};
  Step one = step;
  one.where = 0;
  Send(kCodes[step.where % std::size(kCodes)], one);
}

void EngineUnderAttack::CloseDevice(const Step& step) {
  const CallTimer timer;
  if (vdi::ServerDevice* device = DeviceOf(step); device != nullptr) {
    [[maybe_unused]] const Status closed = device->CloseDevice();
  }
}

void EngineUnderAttack::Look() {
  const CallTimer timer;
  CAPSTAN_CHECK(!rendezvous_.List().empty());
  if (set_) {
    CAPSTAN_CHECK(set_->GetConfiguration().device_count == names_.size());
    const Status reason = set_->abort_reason();
    CAPSTAN_CHECK(reason.ok() || !reason.message().empty());
  }
}

void EngineUnderAttack::SwapBuffer(const Step& step) {
  const CallTimer timer;
  if (set_ && step.which % 8 == 0) {  // a further area, which the client is told of
    [[maybe_unused]] const Status more = set_->RequestBuffers(kBufferSize, 0, 1);
  }
  if (set_ && !buffers_.empty()) {
    // What stays in flight with it is the client's to read: no harm to us.
    CAPSTAN_CHECK(set_->FreeBuffer(buffers_.back()).ok());
    buffers_.pop_back();
    if (auto buffer = set_->AllocateBuffer(kBufferSize, 0); buffer.ok()) {
      buffers_.push_back(*buffer);
    }
  }
}

void EngineUnderAttack::Abort() {
  const CallTimer timer;
  if (set_) {
    set_->SignalAbort(Error(Code::kCancelled, "the script says so"));
    CAPSTAN_CHECK(!set_->abort_reason().ok());
  }
}

void EngineUnderAttack::Settle() {
  const Deadline limit = Deadline::After(std::chrono::microseconds(300));
  while (set_ && set_->abort_reason().ok() && !limit.passed() &&
         client_.area().header().engine_sleep.asleep.load() == 0) {
    std::this_thread::yield();
  }
}

void EngineUnderAttack::End(bool wake_anyway) {
  if (!set_) {
    return;
  }
  Settle();
  if (wake_anyway) {
    WakeAnyway(client_.area().header().engine_sleep);
  }
  const CallTimer timer;
  for (vdi::ServerDevice* device : devices_) {
    if (device != nullptr && device->in_flight() == 0) {
      [[maybe_unused]] const Status closed = device->CloseDevice();
    }
  }
  [[maybe_unused]] const Status closed = set_->Close();
  for (std::size_t i = 0; i < sent_.size(); ++i) {
    CAPSTAN_CHECK(called_back_[i] == (sent_[i] ? 1 : 0));
  }
  set_.reset();
}

// What lives on from input to input.
class Arena {
 public:
  Arena()
      : rendezvous_(test::Must(
            vdi::Rendezvous::Listen({.path = folder_.Under("s"), .segment_bytes_max = 64 << 20}))),
        witness_(std::make_unique<WitnessSet>(*rendezvous_)),
        before_(FootprintAtRest()) {}

  void Run(const Script& script);

 private:
  void Play(EngineUnderAttack& engine, HostileClient& client, const Step& step);
  static constexpr int kLastActOfEngine = 8;
  void PlayEngine(EngineUnderAttack& engine, int act, const Step& step);
  void PlayClient(HostileClient& client, int act, const Step& step);
  void Testify();

  test::TemporaryDirectory folder_;
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
  std::unique_ptr<WitnessSet> witness_;
  const test::ProcessFootprint before_;
  std::uint64_t round_ = 0;
  std::vector<UniqueFd> strangers_;  // further connections of this input; some may have joined
};

void Arena::Run(const Script& script) {
  static constexpr std::uint32_t kFeatures[] = {vdi::feature::kLikePipe, vdi::feature::kLikeTape,
                                                vdi::feature::kLikeDisk,
                                                vdi::feature::kRequestComplete};
  const std::uint32_t device_count = 1 + script.setup[0] % kHostileDevicesMax;
  const std::uint8_t wishes = script.setup[1];
  const std::uint8_t flags = script.setup[3];
  {
    HostileClient client(rendezvous_->path(), kSetName,
                         {.device_count = device_count,
                          .features = kFeatures[wishes % 4],
                          .prefix_zone_size = (wishes & 4) != 0 ? 100U : 0U,
                          .server_timeout_ms = (wishes & 0x38) == 0x38 ? 1U : 0U});
    CAPSTAN_CHECK(client.created());
    EngineUnderAttack engine(*rendezvous_, client, device_count);
    if ((flags & 2) == 0) {
      for (int i = script.setup[2] % 9; i > 0; --i) {
        client.Open(static_cast<std::size_t>(i));
        engine.Advance();
      }
    }
    for (const Step& step : script.steps) {
      Play(engine, client, step);
    }
    if ((flags & 1) != 0) {
      client.Disconnect();
    }
    engine.End(/*wake_anyway=*/flags >> 2 != 0x3F);
  }
  strangers_.clear();
  Testify();
}

void Arena::Play(EngineUnderAttack& engine, HostileClient& client, const Step& step) {
  const int act = step.act % 24;
  if (act <= kLastActOfEngine) {
    PlayEngine(engine, act, step);
  } else {
    PlayClient(client, act, step);
  }
}

void Arena::PlayEngine(EngineUnderAttack& engine, int act, const Step& step) {
  switch (act) {
    case 0:
      return engine.Advance();
    case 1:
      return engine.Send(CommandCode::kWrite, step);
    case 2:
      return engine.Send(CommandCode::kRead, step);
    case 3:
      return engine.SendAlone(step);
    case 4:
      return engine.CloseDevice(step);
    case 5:
      return engine.Look();
    case 6:
      return engine.SwapBuffer(step);
    case 7:
      return engine.Abort();
    case kLastActOfEngine:
      return engine.Settle();
    default:
      return;
  }
}

void Arena::PlayClient(HostileClient& client, int act, const Step& step) {
  vdi::DeviceArea& device = client.area().device(step.which);
  switch (act) {
    case 9:
      return client.Open(step.which);
    case 10:
      return client.Serve(step.which, 1 + step.where % 300, 0);
    case 11:
      return client.Serve(step.which, 1 + step.where % 3, step.value & 0xFFFF);
    case 12:
      return client.Take(step.which);
    case 13:
      return client.Forge(step);
    case 14:
      device.completions.posted.count.fetch_add(step.distance());
      return client.Wake();
    case 15:
      device.commands.taken.count.fetch_add(step.distance());
      return;
    case 16:
      device.client_state.store(
          step.where % 2 == 0 ? vdi::ClientWord(step.value % 4, step.where / 2U % 3) : step.value);
      return client.Wake();
    case 17:
      client.area().header().engine_sleep.asleep.store(step.where % 2 == 0 ? step.value % 3
                                                                           : step.value);
      return;
    case 18:
      client.area().PokeWord(step.where, step.wide());
      return client.Wake();
    case 19:
      client.area().PokeByte(step.where + (step.which & 1) * 0x10000ULL,
                             static_cast<std::uint8_t>(step.value));
      return client.Wake();
    case 20:
      if (step.which % 2 == 0) {
        return client.ScribbleIntoBuffers(step);
      }
      return step.where % 2 == 0 ? PunchHole(client.area().fd(), step.value)
                                 : client.PunchHoleIntoBuffers(step.value);
    case 21:
      return SayTo(client.socket(), kSetName, kSetName, step);
    case 22:
      if (strangers_.size() < 4) {
        strangers_.push_back(test::Must(vdi::ConnectSocket(rendezvous_->path())));
      }
      return SayTo(strangers_[step.value % strangers_.size()].get(),
                   step.where % 2 == 0 ? "witness" : kSetName, kSetName, step);
    default:
      if (step.value % 8 == 0) {  // rarely, because it ends what is interesting
        return client.Disconnect();
      }
      if (step.value % 8 == 1 && !strangers_.empty()) {
        strangers_.pop_back();
        return;
      }
      return WakeAnyway(device.client_sleep);
  }
}

void Arena::Testify() {
  witness_->Work();
  if (++round_ % 64 != 0) {
    return;
  }
  const Deadline patience = Deadline::After(std::chrono::seconds(5));
  while (rendezvous_->List().size() != 1) {
    CAPSTAN_CHECK(!patience.passed());
    std::this_thread::yield();
  }
  const std::string leaked = test::LeakedSince(before_);
  if (!leaked.empty()) {
    std::fprintf(stderr, "leak: %s\n", leaked.c_str());
  }
  CAPSTAN_CHECK(leaked.empty());
  witness_->CloseInGoodOrder();
  witness_.reset();
  witness_ = std::make_unique<WitnessSet>(*rendezvous_);
}

}  // namespace
}  // namespace capstan::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static capstan::fuzz::Arena& arena = [&]() -> capstan::fuzz::Arena& {
    capstan::SetLogLevel(capstan::LogLevel::kError);
    static capstan::fuzz::Arena made;
    return made;
  }();
  arena.Run(capstan::fuzz::Script::Read({data, size}));
  return 0;
}
