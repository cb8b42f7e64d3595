#include "vdi/engine_set.h"

#include <algorithm>
#include <limits>
#include <new>

#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"
#include "vdi/base/thread.h"
#include "vdi/configuration.h"
#include "vdi/wake.h"

namespace capstan::vdi {
namespace {

constexpr std::size_t kPageSize = 4096;
// Processes beside the one that created a set: one per device, and as many that only look on.
constexpr std::size_t kSecondariesMax = 128;

// The kernel has zeroed the memory; this starts the life of the objects in it and signs it.
void DrawControlArea(std::byte* base, std::uint32_t device_count) {
  auto* header = new (base) ControlHeader{};
  header->version = kSegmentVersion;
  header->header_size = sizeof(ControlHeader);
  header->device_area_size = kDeviceAreaSize;
  header->device_count = device_count;
  header->ring_capacity = kRingCapacity;
  for (std::uint32_t i = 0; i < device_count; ++i) {
    new (base + sizeof(ControlHeader) + i * kDeviceAreaSize) DeviceArea{};
  }
  header->magic = kSegmentMagic;
}

}  // namespace

Result<std::unique_ptr<EngineSet>> EngineSet::Create(Origin origin) {
  const std::size_t size = ControlAreaSize(origin.wishes.device_count);
  CAPSTAN_ASSIGN_OR_RETURN(SharedMemory control,
                           SharedMemory::Create("capstan-control", size, kPageSize));
  DrawControlArea(control.data(), origin.wishes.device_count);
  std::unique_ptr<EngineSet> set(new EngineSet(std::move(origin), std::move(control)));
  set->origin_.link->Attach(set.get(), /*member=*/0);
  return set;
}

EngineSet::EngineSet(Origin origin, SharedMemory control)
    : origin_(std::move(origin)), control_(std::move(control)), config_(origin_.wishes) {}

EngineSet::~EngineSet() {
  [[maybe_unused]] const Status closed = Close();
}

void EngineSet::Connect() {
  MutexLock lock(mutex_);
  if (state_ == State::kCreated) {
    state_ = State::kConnected;
  }
}

DeviceSetConfig EngineSet::GetConfiguration() const {
  MutexLock lock(mutex_);
  return config_;
}

Status EngineSet::BeginConfiguration(const EngineConfiguration& configuration) {
  MutexLock lock(mutex_);
  if (state_ != State::kConnected) {
    return WrongState("BeginConfiguration");
  }
  CAPSTAN_ASSIGN_OR_RETURN(config_, MergeConfiguration(origin_.wishes, configuration));
  state_ = State::kConfigurable;
  CAPSTAN_CRASH_POINT("vdi.server.after_begin_configuration");
  return OkStatus();
}

Status EngineSet::EndConfiguration(std::span<const std::string> device_names) {
  MutexLock lock(mutex_);
  if (state_ != State::kConfigurable) {
    return WrongState("EndConfiguration");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckDeviceNames(name(), config_.device_count, device_names));
  Status reserved = ReserveRequested();
  requested_.clear();
  if (!reserved.ok()) {
    return Annotate(std::move(reserved), fmt::format("configuration of device set '{}'", name()));
  }
  activity_.block_size = config_.block_size;
  activity_.features = config_.features;
  activity_.offered_commands = OfferedCommands(config_.features);
  for (std::size_t i = 0; i < device_names.size(); ++i) {
    devices_.push_back(
        std::make_unique<EngineDevice>(*this, activity_, device_area(i), device_names[i]));
  }
  state_ = State::kInitializing;
  auto thread = StartThread(fmt::format("device set '{}'", name()), [this] { RunCompletions(); });
  if (!thread.ok()) {
    Abort(std::move(thread).status());
    return AbortedErrorLocked();
  }
  completion_thread_ = std::move(thread).value();
  CAPSTAN_CRASH_POINT("vdi.server.before_end_configuration");
  if (const Status published = Introduce(*origin_.link); !published.ok()) {
    Abort(Error(Code::kUnavailable, "unable to tell the client (pid {}) the configuration: {}",
                client_pid(), published.message()));
    return AbortedErrorLocked();
  }
  CAPSTAN_CRASH_POINT("vdi.server.after_end_configuration");
  return OkStatus();
}

Status EngineSet::Introduce(ClientLink& link) const {
  auto message = NewMessage<ConfiguredMessage>();
  message.config = config_;
  const std::uint32_t area_count = buffers().area_count();
  if (area_count > 0) {
    message.buffer_area_size = buffers().area(0).memory().size();
    message.buffer_area_alignment = buffers().area(0).alignment();
  }
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    message.names[i].Set(devices_[i]->name());
  }
  CAPSTAN_RETURN_IF_ERROR(
      link.Send(message, area_count > 0 ? buffers().area(0).memory().fd() : -1));
  for (std::uint32_t index = 1; index < area_count; ++index) {
    CAPSTAN_RETURN_IF_ERROR(
        link.Send(AnnounceArea(index, buffers().area(index)), buffers().area(index).memory().fd()));
  }
  return OkStatus();
}

Result<std::uint32_t> EngineSet::AdmitMember() {
  MutexLock lock(mutex_);
  if (!InUse()) {
    return state_ < State::kInitializing ? WrongState("joining it")
                                               .WithHint(
                                                   "a secondary may join as soon as the primary's "
                                                   "GetConfiguration has returned")
                                         : WrongState("joining it");
  }
  const std::uint32_t last = activity_.last_member.load(std::memory_order_relaxed);
  if (secondaries_.size() >= kSecondariesMax || last == kMemberMax) {
    return Error(Code::kResourceExhausted, "{} processes have joined device set '{}' already",
                 secondaries_.size(), name());
  }
  activity_.last_member.store(last + 1, std::memory_order_release);
  return last + 1;
}

Status EngineSet::OnJoin(const std::shared_ptr<ClientLink>& newcomer) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::uint32_t member, AdmitMember());
  newcomer->Attach(this, member);
  Status told;
  {
    MutexLock lock(mutex_);
    if (!InUse()) {
      told = WrongState("joining it");
    } else {
      auto answer = NewMessage<JoinedMessage>();
      answer.control_size = control_->size();
      answer.member = member;
      answer.device_count = config_.device_count;
      told = newcomer->Send(answer, control_->fd());
    }
    if (told.ok()) {
      // A member from here on: it may have opened a device already, so that its end counts.
      secondaries_[member] = newcomer;
      if (!Introduce(*newcomer).ok()) {
        newcomer->Shutdown();
      }
    }
  }
  if (!told.ok()) {
    newcomer->Detach();
  }
  return told;
}

Result<ServerDevice*> EngineSet::OpenDevice(std::string_view device_name, Deadline deadline) {
  MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(EngineDevice * device, FindUnopened(device_name));
  CAPSTAN_CRASH_POINT("vdi.server.before_open_device");
  while (!device->client_opened()) {
    const bool in_time = !deadline.passed() && changed_.WaitUntil(mutex_, deadline.when());
    if (!InUse()) {
      return WrongState("OpenDevice");
    }
    if (!in_time && !device->client_opened()) {
      return Error(Code::kDeadlineExceeded,
                   "client (pid {}) has not opened device '{}' of set '{}' in time", client_pid(),
                   device_name, name());
    }
  }
  if (device->state() != EngineDevice::State::kClosed) {
    return Error(Code::kFailedPrecondition, "device '{}' is open already", device_name);
  }
  device->Open();
  ++opened_count_;
  state_ = State::kActive;
  CAPSTAN_CRASH_POINT("vdi.server.after_open_device");
  return device;
}

Result<EngineDevice*> EngineSet::FindUnopened(std::string_view device_name) {
  if (!InUse()) {
    return WrongState("OpenDevice");
  }
  if (opened_count_ == devices_.size()) {
    return Error(Code::kAlreadyExists, "all {} devices of set '{}' are open", devices_.size(),
                 name());
  }
  for (const auto& device : devices_) {
    if (device->name() == device_name) {
      if (device->state() != EngineDevice::State::kClosed) {
        return Error(Code::kFailedPrecondition, "device '{}' is open already", device_name);
      }
      return device.get();
    }
  }
  return Error(Code::kInvalidArgument, "device set '{}' has no device '{}'", name(), device_name);
}

Status EngineSet::CloseDevice(EngineDevice& device) {
  MutexLock lock(mutex_);
  if (state_ == State::kAbort) {
    return AbortedErrorLocked();
  }
  if (state_ != State::kActive || device.state() != EngineDevice::State::kOpen) {
    return Error(Code::kFailedPrecondition, "unable to close device '{}': it is not open",
                 device.name());
  }
  CAPSTAN_CRASH_POINT("vdi.server.before_close_device");
  if (Status posted = device.PostClose(); !posted.ok()) {
    if (posted.code() == Code::kDataLoss) {
      Abort(std::move(posted));
      return AbortedErrorLocked();
    }
    return posted;
  }
  // In the same critical section: a client that closes because of the record must find the set
  // terminated, not active.
  if (++closed_count_ == devices_.size()) {
    state_ = State::kNormallyTerminated;
    changed_.NotifyAll();
  }
  CAPSTAN_CRASH_POINT("vdi.server.after_close_device");
  return OkStatus();
}

void EngineSet::SignalAbort(Status why) {
  MutexLock lock(mutex_);
  Abort(std::move(why));
}

Status EngineSet::abort_reason() const {
  MutexLock lock(mutex_);
  return abort_reason_;
}

Status EngineSet::Close() {
  bool devices_open = false;
  {
    MutexLock lock(mutex_);
    if (state_ == State::kClosed) {
      return WrongState("Close");
    }
    devices_open = state_ == State::kActive;
    CAPSTAN_CRASH_POINT("vdi.server.before_close");
    if (state_ == State::kNormallyTerminated) {
      TellAll(NewMessage<CloseMessage>());
    } else {
      Abort(Error(Code::kAborted, "the engine closed device set '{}'", name()));
    }
  }
  Disconnect();
  stopping_.store(true, std::memory_order_seq_cst);
  WakeIfAsleep(header().engine_sleep);
  if (completion_thread_.joinable()) {
    completion_thread_.join();
  }
  MutexLock lock(mutex_);
  for (const auto& device : devices_) {
    device->Retire();
  }
  buffers().Clear();
  control_.reset();
  state_ = State::kClosed;
  changed_.NotifyAll();
  CAPSTAN_CRASH_POINT("vdi.server.after_close");
  if (devices_open) {
    return Error(Code::kFailedPrecondition, "device set '{}' was closed with devices open", name());
  }
  return OkStatus();
}

void EngineSet::Disconnect() {
  // Nobody joins any more once the creator's link is detached.
  origin_.link->Detach();
  origin_.link->Shutdown();
  std::map<std::uint32_t, std::shared_ptr<ClientLink>> leaving;
  {
    MutexLock lock(mutex_);
    leaving.swap(secondaries_);
  }
  for (const auto& [member, link] : leaving) {
    link->Detach();
    link->Shutdown();
  }
}

void EngineSet::Abort(Status why) {
  if (state_ == State::kAbort || state_ == State::kClosed) {
    return;
  }
  abort_reason_ = why.ok() ? Error(Code::kAborted, "no reason was given") : std::move(why);
  CAPSTAN_LOG(kInfo, "device set abort name='{}' state={} client_pid={} reason='{}'", name(),
              NameOf(state_), client_pid(), abort_reason_.ToString());
  state_ = State::kAbort;
  CAPSTAN_CRASH_POINT("vdi.server.before_abort");
  activity_.aborted.store(true, std::memory_order_seq_cst);
  TellAll(NewAbortMessage(abort_reason_));
  WakeIfAsleep(header().engine_sleep);
  changed_.NotifyAll();
  CAPSTAN_CRASH_POINT("vdi.server.after_abort");
}

void EngineSet::OnClientEnd(std::uint32_t member, ClientLink::Ending ending, const Status& why) {
  MutexLock lock(mutex_);
  secondaries_.erase(member);
  // After the last CloseDevice the clients may go as they like.
  if (state_ == State::kNormallyTerminated) {
    return;
  }
  if (member == 0 || ending == ClientLink::Ending::kAborts) {
    Abort(why);
    return;
  }
  for (const auto& device : devices_) {
    if (device->LeftOpenBy(member)) {
      Abort(Error(why.code(), "{}, and leaves device '{}' open", why.message(), device->name()));
      return;
    }
  }
}

Status EngineSet::AbortedError() const {
  MutexLock lock(mutex_);
  return AbortedErrorLocked();
}

Status EngineSet::AbortedErrorLocked() const {
  return Error(Code::kAborted, "device set '{}' was aborted: {}", name(), abort_reason_.message());
}

Status EngineSet::WrongState(std::string_view call) const {
  if (state_ == State::kAbort) {
    return AbortedErrorLocked();
  }
  return Error(Code::kFailedPrecondition, "{} is not possible: device set '{}' is {}", call, name(),
               NameOf(state_));
}

std::string_view EngineSet::StateName() const {
  MutexLock lock(mutex_);
  return NameOf(state_);
}

std::string_view EngineSet::NameOf(State state) {
  switch (state) {
    case State::kCreated:
      return "Created";
    case State::kConnected:
      return "Connected";
    case State::kConfigurable:
      return "Configurable";
    case State::kInitializing:
      return "Initializing";
    case State::kActive:
      return "Active";
    case State::kNormallyTerminated:
      return "NormallyTerminated";
    case State::kAbort:
      return "Abort";
    case State::kClosed:
      return "Closed";
  }
  return "unknown";
}

ControlHeader& EngineSet::header() const {
  return *std::launder(reinterpret_cast<ControlHeader*>(control_->data()));
}

DeviceArea& EngineSet::device_area(std::size_t index) const {
  return *std::launder(reinterpret_cast<DeviceArea*>(control_->data() + sizeof(ControlHeader) +
                                                     index * kDeviceAreaSize));
}

void EngineSet::RunCompletions() {
  SpinBudget spin;
  for (;;) {
    bool progressed = false;
    if (!HarvestAll(progressed)) {
      return;
    }
    if (!progressed) {
      AbortIfSilent();
      WaitForWork(header().engine_sleep, spin, SilenceDeadline(), [this] { return HasWork(); });
    }
  }
}

bool EngineSet::HarvestAll(bool& progressed) {
  bool opened = false;
  for (const auto& device : devices_) {
    const bool was_open = device->client_opened();
    if (Status harvested = device->Harvest(progressed); !harvested.ok()) {
      SignalAbort(std::move(harvested));
    }
    opened |= device->client_opened() != was_open;
  }
  if (opened) {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  }
  if (activity_.aborted.load(std::memory_order_acquire)) {
    for (const auto& device : devices_) {
      device->AbortInFlight();
    }
    return false;
  }
  return !stopping_.load(std::memory_order_acquire);
}

bool EngineSet::HasWork() const {
  return activity_.aborted.load(std::memory_order_seq_cst) ||
         stopping_.load(std::memory_order_seq_cst) ||
         std::any_of(devices_.begin(), devices_.end(),
                     [](const auto& device) { return device->HasWork(); });
}

Deadline EngineSet::SilenceDeadline() const {
  const std::uint64_t interval_ms = origin_.wishes.server_timeout_ms;
  if (interval_ms == 0 || activity_.in_flight.load(std::memory_order_acquire) == 0) {
    return Deadline::Never();  // the wait ends by itself after kNapMax
  }
  // In this order: progress that comes between the two must not look like a silence of centuries.
  const std::uint64_t progress_ns = activity_.progress_ns.load(std::memory_order_relaxed);
  const std::uint64_t silent_ns = MonotonicNanos() - progress_ns;
  const std::uint64_t patience_ns = 2 * interval_ms * 1'000'000;
  return Deadline::After(
      std::chrono::nanoseconds(silent_ns >= patience_ns ? 0 : patience_ns - silent_ns));
}

void EngineSet::AbortIfSilent() {
  if (SilenceDeadline().passed()) {
    SignalAbort(Error(Code::kDeadlineExceeded,
                      "client (pid {}) completed none of {} commands in two intervals of {} ms",
                      client_pid(), activity_.in_flight.load(std::memory_order_relaxed),
                      origin_.wishes.server_timeout_ms));
  }
}

}  // namespace capstan::vdi
