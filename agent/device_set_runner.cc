#include "agent/device_set_runner.h"

#include <algorithm>
#include <utility>

#include "agent/decorators/rate_limit.h"
#include "vdi/base/log.h"
#include "vdi/base/thread.h"

namespace capstan::agent {
namespace {

const char* OutcomeName(capstan_outcome outcome) {
  switch (outcome) {
    case CAPSTAN_OUTCOME_DONE:
      return "done";
    case CAPSTAN_OUTCOME_DISCARD:
      return "discard";
    case CAPSTAN_OUTCOME_KEEP:
      return "keep";
  }
  return "unknown";
}

Status CheckOrder(const DeviceSetOrder& order) {
  if (order.devices.empty() || order.devices.size() > vdi::kDeviceCountMax) {
    return Error(Code::kInvalidArgument, "device set '{}' has {} devices, expected 1 to {}",
                 order.set_name, order.devices.size(), vdi::kDeviceCountMax);
  }
  if (order.devices[0].device_name != order.set_name) {
    return Error(Code::kInvalidArgument, "the first device of set '{}' is called '{}'",
                 order.set_name, order.devices[0].device_name);
  }
  const bool begins = order.mode == CAPSTAN_OPEN_REPLACE || order.mode == CAPSTAN_OPEN_CREATE;
  if ((order.resume || order.keep) && !begins) {
    return Error(Code::kInvalidArgument,
                 "device set '{}' is to {} media that it does not begin (open mode {})",
                 order.set_name, order.resume ? "go on with" : "keep",
                 static_cast<int>(order.mode));
  }
  return OkStatus();
}

}  // namespace

std::unique_ptr<DeviceSetRunner> DeviceSetRunner::Start(const DeviceSetOrder& order,
                                                        const Environment& environment,
                                                        OrderOutcome* outcome) {
  *outcome = {.status = CheckOrder(order)};
  if (!outcome->status.ok()) {
    return nullptr;
  }
  std::unique_ptr<DeviceSetRunner> runner(new DeviceSetRunner(order, environment));
  *outcome = runner->OpenMedia(environment.plugin);
  if (outcome->status.ok()) {
    outcome->status = runner->CreateSet();
  }
  if (!outcome->status.ok()) {
    runner->GiveUp();
    return nullptr;
  }
  auto thread = StartThread(fmt::format("device set '{}'", order.set_name),
                            [self = runner.get()] { self->Run(); });
  if (!thread.ok()) {
    *outcome = {.status = std::move(thread).status()};
    runner->GiveUp();
    return nullptr;
  }
  runner->thread_ = std::move(thread).value();
  return runner;
}

DeviceSetRunner::DeviceSetRunner(DeviceSetOrder order, const Environment& environment)
    : order_(std::move(order)), environment_(environment) {}

DeviceSetRunner::~DeviceSetRunner() {
  if (thread_.joinable()) {
    Abort("the agent forgets the set");
  }
}

OrderOutcome DeviceSetRunner::OpenMedia(MediaPlugin& plugin) {
  const auto rate_limit = order_.bytes_per_second_max == 0
                              ? nullptr
                              : std::make_shared<RateLimit>(order_.bytes_per_second_max);
  for (const DeviceSetOrder::Device& device : order_.devices) {
    auto medium = plugin.Open({.mode = order_.mode,
                               .target = device.target,
                               .token = device.token,
                               .size_estimate = device.size_estimate,
                               .queue_depth_max = std::max(order_.queue_depth_max, 1U),
                               .retain_until_unix_s = order_.retain_until_unix_s,
                               .resume = order_.resume,
                               .rate_limit = rate_limit});
    if (!medium.ok()) {
      return {std::move(medium).status(), device.target};
    }
    devices_.push_back(std::make_unique<DeviceRunner>(order_.set_name, device.device_name,
                                                      device.target, std::move(medium).value()));
  }
  endings_.assign(devices_.size(), DeviceRunner::Ending::kNone);
  return {};
}

Status DeviceSetRunner::CreateSet() {
  const MediaPluginInfo& plugin = environment_.plugin.info();
  vdi::DeviceSetConfig wishes;
  wishes.device_count = static_cast<std::uint32_t>(order_.devices.size());
  wishes.features = plugin.device_features | vdi::feature::kRequestComplete;
  wishes.alignment = plugin.alignment;
  CAPSTAN_ASSIGN_OR_RETURN(
      set_, environment_.create_set(environment_.rendezvous_path, order_.set_name, wishes));
  return OkStatus();
}

void DeviceSetRunner::GiveUp() {
  CloseMedia(order_.mode == CAPSTAN_OPEN_READ ? CAPSTAN_OUTCOME_DONE
             : order_.resume                  ? CAPSTAN_OUTCOME_KEEP
                                              : CAPSTAN_OUTCOME_DISCARD);
  set_.reset();
}

void DeviceSetRunner::Run() {
  CAPSTAN_LOG(kInfo, "device set begin set={} job={} devices={}", order_.set_name, order_.job_id,
              order_.devices.size());
  if (const Status status = Serve(); !status.ok()) {
    CAPSTAN_LOG(kWarning, "device set failed set={} job={} reason={}", order_.set_name,
                order_.job_id, status.message());
    set_->SignalAbort();
  }
  const capstan_outcome outcome = DecideOutcome();
  if (outcome != CAPSTAN_OUTCOME_DONE) {
    const MutexLock lock(mutex_);
    given_up_ = true;
  }
  CloseMedia(outcome);  // before the set: requests in flight use its buffers
  // The set complains about devices that were open when it was aborted. That was told before.
  [[maybe_unused]] const Status ignored = set_->Close();
  CAPSTAN_LOG(kInfo, "device set end set={} job={} outcome={}", order_.set_name, order_.job_id,
              OutcomeName(outcome));
  const MutexLock lock(mutex_);
  ended_ = true;
  changed_.NotifyAll();
}

// Opens the devices and runs each on a thread of its own until all have ended.
Status DeviceSetRunner::Serve() {
  // Never: the statement may wait for others; abort and the engine's death end the wait.
  CAPSTAN_RETURN_IF_ERROR(set_->GetConfiguration(Deadline::Never()).status());
  std::vector<std::jthread> threads;
  for (std::size_t index = 0; index < devices_.size(); ++index) {
    auto device = set_->OpenDevice(devices_[index]->device_name());
    if (!device.ok()) {
      set_->SignalAbort();  // ends the devices that run already
      return std::move(device).status();
    }
    auto thread = StartThread(fmt::format("device '{}'", devices_[index]->device_name()),
                              [this, index, opened = *device] {
                                endings_[index] = devices_[index]->Run(*opened);
                                if (endings_[index] != DeviceRunner::Ending::kClosed) {
                                  set_->SignalAbort();
                                }
                              });
    if (!thread.ok()) {
      set_->SignalAbort();
      return std::move(thread).status();
    }
    threads.push_back(std::move(thread).value());
  }
  return OkStatus();
}

capstan_outcome DeviceSetRunner::DecideOutcome() {
  using Ending = DeviceRunner::Ending;
  if (order_.mode == CAPSTAN_OPEN_READ) {
    return CAPSTAN_OUTCOME_DONE;
  }
  const auto given_up = order_.keep ? CAPSTAN_OUTCOME_KEEP : CAPSTAN_OUTCOME_DISCARD;
  if (std::count(endings_.begin(), endings_.end(), Ending::kClosed) ==
      static_cast<std::ptrdiff_t>(endings_.size())) {
    const bool whole = std::all_of(devices_.begin(), devices_.end(),
                                   [](const auto& device) { return device->completed(); });
    return whole ? CAPSTAN_OUTCOME_DONE : given_up;
  }
  const bool engine_died = set_->abort_reason().code() == Code::kUnavailable;
  const MutexLock lock(mutex_);
  return engine_died || engine_vanished_ ? CAPSTAN_OUTCOME_KEEP : given_up;
}

void DeviceSetRunner::CloseMedia(capstan_outcome outcome) {
  for (const auto& device : devices_) {
    if (const Status status = device->CloseMedium(outcome); !status.ok()) {
      CAPSTAN_LOG(kWarning, "medium did not close well set={} target={} reason={}", order_.set_name,
                  device->target(), status.message());
    }
  }
}

bool DeviceSetRunner::HasTarget(const std::string& target) const {
  return std::any_of(devices_.begin(), devices_.end(),
                     [&](const auto& device) { return device->target() == target; });
}

void DeviceSetRunner::Abort(const std::string& why) {
  {
    const MutexLock lock(mutex_);
    if (ended_) {
      return;
    }
    if (abort_reason_.empty()) {
      abort_reason_ = why;
      CAPSTAN_LOG(kInfo, "device set abort set={} job={} reason={}", order_.set_name, order_.job_id,
                  why);
    }
    changed_.NotifyAll();
  }
  set_->SignalAbort();
}

void DeviceSetRunner::EngineVanished() {
  {
    const MutexLock lock(mutex_);
    if (ended_) {
      return;
    }
    engine_vanished_ = true;
    changed_.NotifyAll();
  }
  set_->SignalAbort();
}

bool DeviceSetRunner::WaitUntilEnded(Deadline deadline) {
  const MutexLock lock(mutex_);
  while (!ended_) {
    if (!changed_.WaitUntil(mutex_, deadline.when()) && !ended_) {
      return false;
    }
  }
  return true;
}

bool DeviceSetRunner::ended() {
  const MutexLock lock(mutex_);
  return ended_;
}

std::chrono::milliseconds DeviceSetRunner::EndingFor() {
  const bool aborted = !set_->abort_reason().ok();
  const auto now = std::chrono::steady_clock::now();
  const MutexLock lock(mutex_);
  if (ended_ || !(aborted || given_up_)) {
    return std::chrono::milliseconds(0);
  }
  if (ending_since_ == std::chrono::steady_clock::time_point()) {
    ending_since_ = now;
  }
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - ending_since_);
}

std::vector<DeviceLoad> DeviceSetRunner::Load() {
  std::vector<DeviceLoad> loads;
  for (const auto& device : devices_) {
    loads.push_back(device->Load());
  }
  return loads;
}

}  // namespace capstan::agent
