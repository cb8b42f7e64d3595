#include "agent/agent.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "vdi/base/log.h"

namespace capstan::agent {
namespace {

// How long media may take to close: what is in flight must end, and partial files be removed.
constexpr auto kCloseMax = std::chrono::seconds(30);
// How long the end of an earlier set of ours may keep a target busy.
constexpr auto kHolderMax = std::chrono::seconds(5);
// A plugin has five seconds to let go of media whose set is over (rule 19 of plugin.h).
constexpr auto kStuckAfter = std::chrono::seconds(10);
// Reports of ended devices that are kept until somebody asks.
constexpr std::size_t kLastLoadsMax = 1024;

}  // namespace

Agent::Agent(MediaPlugin& plugin, CreateDeviceSet create_set)
    : plugin_(plugin), create_set_(std::move(create_set)) {}

Agent::~Agent() {
  Stop("the agent ends");
}

void Agent::SetRendezvousPath(const std::string& path) {
  const MutexLock lock(mutex_);
  rendezvous_path_ = path;
}

Status Agent::CheckMayOpen(const std::string& set_name) {
  if (stopped_) {
    return Error(Code::kUnavailable, "the agent stops and opens no device set '{}'", set_name);
  }
  const bool open = std::any_of(runners_.begin(), runners_.end(), [&](const auto& runner) {
    return runner->set_name() == set_name && !runner->ended();
  });
  if (open || std::find(opening_.begin(), opening_.end(), set_name) != opening_.end()) {
    return Error(Code::kAlreadyExists, "device set '{}' is open already", set_name);
  }
  return OkStatus();
}

OrderOutcome Agent::OpenDeviceSet(const DeviceSetOrder& order) {
  Forget();
  DeviceSetRunner::Environment environment{
      .plugin = plugin_, .create_set = create_set_, .rendezvous_path = {}};
  {
    const MutexLock lock(mutex_);
    if (Status status = CheckMayOpen(order.set_name); !status.ok()) {
      return {std::move(status)};
    }
    opening_.push_back(order.set_name);
    environment.rendezvous_path = rendezvous_path_;
  }
  OrderOutcome outcome;
  std::shared_ptr<DeviceSetRunner> runner = DeviceSetRunner::Start(order, environment, &outcome);
  // The engine may be done with a set an instant before our end of it is closed.
  if (!runner && outcome.status.os_error() == EBUSY && WaitForOwnHolder(outcome.target)) {
    runner = DeviceSetRunner::Start(order, environment, &outcome);
  }
  const MutexLock lock(mutex_);
  opening_.erase(std::find(opening_.begin(), opening_.end(), order.set_name));
  if (runner) {
    if (stopped_) {
      runner->Abort("the agent stops");
    }
    runners_.push_back(std::move(runner));
  }
  return outcome;
}

// True if a set of ours had the target, and has let go of it.
bool Agent::WaitForOwnHolder(const std::string& target) {
  const Deadline deadline = Deadline::After(kHolderMax);
  bool waited = false;
  for (const auto& runner : Open()) {
    if (runner->HasTarget(target)) {
      waited = runner->WaitUntilEnded(deadline) || waited;
    }
  }
  return waited;
}

Status Agent::CloseDeviceSet(const std::string& set_name) {
  for (const auto& runner : Open()) {
    if (runner->set_name() != set_name) {
      continue;
    }
    runner->Abort("the engine gave the set up");
    if (!runner->WaitUntilEnded(Deadline::After(kCloseMax))) {
      return Error(Code::kDeadlineExceeded, "the media of device set '{}' did not close in {} s",
                   set_name, kCloseMax.count());
    }
  }
  Forget();
  return OkStatus();
}

void Agent::EngineVanished() {
  plugin_.EndWaits();
  const Runners open = Open();
  for (const auto& runner : open) {
    runner->EngineVanished();
  }
  for (const auto& runner : open) {
    if (!runner->WaitUntilEnded(Deadline::After(kCloseMax))) {
      CAPSTAN_LOG(kWarning, "media of device set '{}' still close", runner->set_name());
    }
  }
  Forget();
}

void Agent::Stop(const std::string& why) {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  plugin_.EndWaits();
  const Runners open = Open();
  for (const auto& runner : open) {
    runner->Abort(why);
  }
  for (const auto& runner : open) {
    if (!runner->WaitUntilEnded(Deadline::After(kCloseMax))) {
      CAPSTAN_LOG(kError, "media of device set '{}' do not close", runner->set_name());
    }
  }
  Forget();
}

std::vector<DeviceLoad> Agent::Load() {
  Forget();
  std::vector<DeviceLoad> loads;
  {
    const MutexLock lock(mutex_);
    loads.swap(last_loads_);
  }
  for (const auto& runner : Open()) {
    std::vector<DeviceLoad> some = runner->Load();
    loads.insert(loads.end(), std::make_move_iterator(some.begin()),
                 std::make_move_iterator(some.end()));
  }
  return loads;
}

bool Agent::OnlyStuckSetsAreLeft() {
  const Runners open = Open();
  const auto stuck = std::count_if(open.begin(), open.end(), [](const auto& runner) {
    return runner->EndingFor() >= kStuckAfter;
  });
  const MutexLock lock(mutex_);
  return stuck > 0 && stuck == static_cast<std::ptrdiff_t>(open.size()) && opening_.empty();
}

Agent::Runners Agent::Open() {
  const MutexLock lock(mutex_);
  Runners open;
  std::copy_if(runners_.begin(), runners_.end(), std::back_inserter(open),
               [](const auto& runner) { return !runner->ended(); });
  return open;
}

void Agent::Forget() {
  Runners ended;  // destroyed without the lock: a runner's end joins its threads
  const MutexLock lock(mutex_);
  const auto first = std::stable_partition(runners_.begin(), runners_.end(),
                                           [](const auto& runner) { return !runner->ended(); });
  ended.assign(std::make_move_iterator(first), std::make_move_iterator(runners_.end()));
  for (const auto& runner : ended) {
    if (last_loads_.size() >= kLastLoadsMax) {
      break;  // nobody asks
    }
    std::vector<DeviceLoad> some = runner->Load();
    last_loads_.insert(last_loads_.end(), std::make_move_iterator(some.begin()),
                       std::make_move_iterator(some.end()));
  }
  runners_.erase(first, runners_.end());
}

}  // namespace capstan::agent
