// libFuzzer over all that an engine can do to a client, as a vendor's program should survive a
// broken server: a real client's end makes its usual calls while the engine, driven by the input,
// lies on the socket and in shared memory. Layout of the input: hostile_steps.h. Set-up bytes:
//   0   devices that the client wishes; upper half: how many more or fewer the engine has drawn
//   1   the answer to Create: sound below 0xC0, otherwise spoiled with the first step
//   2   how much goes well before the first step: configuration, devices, a command for each
//   3   bit 0: the engine goes first at the end; bit 1: the client joins as a secondary; upper six
//       bits all set: nobody wakes a sleeper whose word was spoiled
//
// What must hold, whatever the input: no crash and no undefined behaviour; every call returns in
// time, also those that wait without a deadline once the engine has gone; what is delivered lies
// inside the buffer area; nothing is written behind the control area; descriptors, threads and
// mappings stay as many.
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tests/fuzz/hostile_engine.h"
#include "tests/fuzz/hostile_steps.h"
#include "tests/support/temporary_directory.h"
#include "vdi/base/log.h"
#include "vdi/client_device_set.h"

namespace capstan::fuzz {
namespace {

using vdi::CommandCode;

constexpr std::uint32_t kDevicesMax = 3;

// The client's end, which does what clients do, in their order. Refusals are in order.
class ClientUnderAttack {
 public:
  ClientUnderAttack(std::unique_ptr<vdi::ClientDeviceSet> set, std::uint32_t device_count)
      : set_(std::move(set)),
        device_count_(device_count),
        devices_(vdi::kDeviceCountMax),
        seen_(vdi::kDeviceCountMax) {}

  void GetConfiguration() {
    const CallTimer timer;
    [[maybe_unused]] const auto config =
        set_->GetConfiguration(Deadline::After(std::chrono::microseconds(200)));
  }
  void OpenDevice(std::size_t index);
  void GetCommand(std::size_t index);
  void Complete(const Step& step);
  void UseHandles(const Step& step) {
    const CallTimer timer;
    const auto mapped = set_->MapBufferHandle(step.value);
    if (mapped.ok()) {
      CAPSTAN_CHECK(*mapped != nullptr);
      **mapped = std::byte{1};
      const auto handle = set_->GetBufferHandle(*mapped);
      CAPSTAN_CHECK(!handle.ok() || *handle == step.value);
    }
  }
  void Abort() {
    const CallTimer timer;
    set_->SignalAbort();
    CAPSTAN_CHECK(!set_->GetConfiguration(Deadline::Now()).ok());
  }
  // A thread waits without a deadline: for a device's commands, or for the configuration.
  void Park(const Step& step);
  void Close() {
    const CallTimer timer;
    [[maybe_unused]] const Status closed = set_->Close();
  }
  // REQUIRES: the engine has gone, or the set is closed.
  void JoinParked() {
    const CallTimer timer;
    parked_.clear();
  }

 private:
  // Mostly one of the devices that the client has wished; now and then one that cannot be.
  std::size_t IndexOf(std::size_t which) const {
    return which < 0xC0 ? which % device_count_ : which % vdi::kDeviceCountMax;
  }

  std::unique_ptr<vdi::ClientDeviceSet> set_;
  const std::size_t device_count_;
  std::vector<vdi::ClientDevice*> devices_;
  std::vector<std::vector<std::uint64_t>> seen_;  // ids, by device
  std::size_t parked_on_ = SIZE_MAX;              // its GetCommand has a thread already
  std::vector<std::jthread> parked_;
};

// Everything the client may touch.
void Use(const vdi::ClientCommand& command) {
  const bool transfer = command.code == CommandCode::kRead || command.code == CommandCode::kWrite;
  CAPSTAN_CHECK((command.buffer != nullptr) == transfer);
  if (transfer) {
    CAPSTAN_CHECK(command.size <= kEngineBufferSize);
    std::memset(command.buffer, 0x5A, command.size);
  }
}

void ClientUnderAttack::OpenDevice(std::size_t index) {
  const CallTimer timer;
  index = IndexOf(index);
  auto device = set_->OpenDevice(std::to_string(index));
  if (device.ok()) {
    devices_[index] = *device;
  }
}

void ClientUnderAttack::GetCommand(std::size_t index) {
  const CallTimer timer;
  index = IndexOf(index);
  if (devices_[index] == nullptr || index == parked_on_) {
    return;
  }
  for (int i = 0; i < 300; ++i) {
    const auto command = devices_[index]->GetCommand(Deadline::Now());
    if (!command.ok() || !command->has_value()) {
      return;
    }
    Use(**command);
    seen_[index].push_back((*command)->id);
  }
}

void ClientUnderAttack::Complete(const Step& step) {
  const CallTimer timer;
  const std::size_t index = IndexOf(step.which);
  if (devices_[index] == nullptr) {
    return;
  }
  std::vector<std::uint64_t>& seen = seen_[index];
  const std::uint64_t id = seen.empty() ? step.wide() : seen[step.where % seen.size()];
  const auto code = static_cast<vdi::CompletionCode>(step.value % 4 == 0 ? step.value >> 2 : 0);
  [[maybe_unused]] const Status completed =
      devices_[index]->CompleteCommand(id, code, step.value >> 20, step.value);
}

void ClientUnderAttack::Park(const Step& step) {
  if (parked_.size() >= 2) {
    return;
  }
  const std::size_t index = IndexOf(step.which);
  if (devices_[index] == nullptr || parked_on_ != SIZE_MAX) {
    parked_.emplace_back(
        [this] { [[maybe_unused]] const auto config = set_->GetConfiguration(Deadline::Never()); });
    return;
  }
  parked_on_ = index;
  parked_.emplace_back([device = devices_[index]] {
    for (;;) {
      const auto command = device->GetCommand(Deadline::Never());
      if (!command.ok() || !command->has_value()) {
        return;
      }
      // Not used: Close, which may come at any time, takes the buffers away.
    }
  });
}

// What lives on from input to input.
class Arena {
 public:
  Arena() : engine_(folder_.Under("s")), before_(FootprintAtRest()) {}

  void Run(const Script& script);

 private:
  HostileEngine::Answer AnswerOf(const Script& script) const;
  void Prepare(ClientUnderAttack& client, const Script& script);
  void Play(ClientUnderAttack& client, const Step& step);
  void Forge(const Step& step);
  void CheckFootprint();

  test::TemporaryDirectory folder_;
  HostileEngine engine_;
  const test::ProcessFootprint before_;
  std::uint64_t round_ = 0;
  std::uint32_t device_count_ = 1;  // of this input
  std::uint32_t areas_ = 1;         // that it has made
};

void Arena::Run(const Script& script) {
  device_count_ = 1 + script.setup[0] % kDevicesMax;
  areas_ = 1;
  engine_.AwaitCreate(AnswerOf(script));
  std::unique_ptr<vdi::ClientDeviceSet> set;
  {
    const CallTimer timer;
    auto created =
        vdi::ClientDeviceSet::Create(folder_.Under("s"), "set", {.device_count = device_count_});
    if (created.ok()) {
      set = std::move(created).value();
    }
  }
  engine_.Connected();
  if (set != nullptr && engine_.has_area()) {
    ClientUnderAttack client(std::move(set), device_count_);
    Prepare(client, script);
    for (const Step& step : script.steps) {
      Play(client, step);
    }
    if (script.setup[3] >> 2 != 0x3F) {
      for (std::uint32_t i = 0; i < device_count_; ++i) {
        WakeAnyway(engine_.area().device(i).client_sleep);
      }
    }
    if ((script.setup[3] & 1) != 0) {
      engine_.Disconnect();
    } else {
      client.Close();
    }
    client.JoinParked();
    client.Close();
  }
  set.reset();
  engine_.Forget();
  if (++round_ % 64 == 0) {
    CheckFootprint();
  }
}

HostileEngine::Answer Arena::AnswerOf(const Script& script) const {
  HostileEngine::Answer answer{.device_count = device_count_};
  if (script.setup[0] >> 6 != 0) {
    answer.device_count += (script.setup[0] >> 6) - 2U + (device_count_ == 1 ? 1U : 0U);
  }
  const std::uint8_t how = script.setup[1];
  if (how < 0xC0 || script.steps.empty()) {
    return answer;
  }
  answer.step = script.steps.front();
  answer.refuse = how % 8 == 1;
  answer.spoil_area = how % 8 == 2;
  answer.spoil = how % 8 == 3 ? answer.step.which : 0;
  answer.forgery = how % 8 == 4 ? static_cast<Forgery>(answer.step.which % 5) : Forgery::kNone;
  answer.fd_count = how % 8 == 5 ? answer.step.which % 5 : 1;
  return answer;
}

void Arena::Prepare(ClientUnderAttack& client, const Script& script) {
  const int stages = script.setup[2] % 4;
  if (stages >= 1) {
    engine_.Configure(device_count_, {});
    client.GetConfiguration();
  }
  for (std::uint32_t i = 0; stages >= 2 && i < device_count_; ++i) {
    client.OpenDevice(i);
  }
  for (std::uint32_t i = 0; stages >= 3 && i < device_count_; ++i) {
    Step write;
    write.which = static_cast<std::uint8_t>(i);
    Forge(write);
    client.GetCommand(i);
  }
}

// A command that is sound if `value` is 0.
void Arena::Forge(const Step& step) {
  vdi::CommandRecord record{.id = engine_.NextId(),
                            .position = 0,
                            .buffer_offset = 512ULL * (step.where % 64),
                            .size = 512,
                            .code = static_cast<std::int32_t>(CommandCode::kWrite),
                            .buffer_area = 0,
                            .reserved = {}};
  switch (step.value % 8) {
    case 1:
      record.size = step.value >> 3;
      break;
    case 2:
      record.buffer_offset = step.wide();
      break;
    case 3:
      record.code = static_cast<std::int32_t>(step.value >> 3);
      break;
    case 4:
      record.id = step.wide() >> 3;
      break;
    case 5:
      record.code = static_cast<std::int32_t>((step.value >> 3) % 21);
      break;
    case 6:
      record.code = vdi::kCloseRecord;
      break;
    case 7:
      // One that never comes is waited for, for seconds: once in a great while.
      record.buffer_area = step.where == 0xFFFF ? step.value : (step.value >> 3) % areas_;
      break;
    default:
      break;
  }
  engine_.Send(step.which, record);
}

void Arena::Play(ClientUnderAttack& client, const Step& step) {
  vdi::DeviceArea& device = engine_.area().device(step.which);
  switch (step.act % 20) {
    case 0:
      return engine_.Configure(device_count_, step);
    case 1:
      return client.GetConfiguration();
    case 2:
      return client.OpenDevice(step.which);
    case 3:
    case 4:
      return Forge(step);
    case 5:
      for (int i = step.where % 300; i > 0; --i) {
        Forge({.act = 0, .which = step.which, .where = step.where, .value = 0});
      }
      return;
    case 6:
      return client.GetCommand(step.which);
    case 7:
      return client.Complete(step);
    case 8:
      return client.Park(step);
    case 9:
      device.commands.posted.count.fetch_add(step.distance());
      return vdi::WakeIfAsleep(device.client_sleep);
    case 10:
      device.completions.taken.count.fetch_add(step.distance());
      return;
    case 11:
      device.client_sleep.asleep.store(step.where % 2 == 0 ? step.value % 3 : step.value);
      return;
    case 12:
      return engine_.area().PokeWord(step.where, step.wide());
    case 13:
      return engine_.area().PokeByte(step.where + (step.which & 1) * 0x10000ULL,
                                     static_cast<std::uint8_t>(step.value));
    case 14:
      // The header is where sizes and counts stand.
      return engine_.area().PokeWord(step.where % 16, step.wide());
    case 15:
      return engine_.Say(step);
    case 16:
      return PunchHole(engine_.area().fd(), step.value);
    case 17:
      areas_ += step.which == 0 && step.value == areas_ ? 1 : 0;
      return engine_.AddArea(step);
    case 18:
      return client.UseHandles(step);
    default:
      // Rare, because it ends what is interesting.
      return step.value % 8 == 0   ? engine_.Disconnect()
             : step.value % 8 == 1 ? client.Abort()
                                   : engine_.Configure(device_count_, {});
  }
}

void Arena::CheckFootprint() {
  const std::string leaked = test::LeakedSince(before_);
  if (!leaked.empty()) {
    std::fprintf(stderr, "leak: %s\n", leaked.c_str());
  }
  CAPSTAN_CHECK(leaked.empty());
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
