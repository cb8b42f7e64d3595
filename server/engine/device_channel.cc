#include "server/engine/device_channel.h"

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

constexpr std::uint64_t kRateWindowNs = 1'000'000'000;
constexpr std::chrono::milliseconds kWaitInterval{100};

// A command that a thread waits for. The completion thread's last touch is the notify under the
// lock.
struct AwaitedCommand {
  vdi::ServerCommand command;
  DeviceChannel* channel = nullptr;
  Mutex mutex;
  CondVar completed;
  bool done CAPSTAN_GUARDED_BY(mutex) = false;

  static void OnCompletion(vdi::ServerCommand* command) {
    auto* self = static_cast<AwaitedCommand*>(command->completion_context);
    self->channel->NoteCompletion(*command);
    MutexLock lock(self->mutex);
    self->done = true;
    self->completed.NotifyOne();
  }

  // Whether it has completed, after waiting at most `patience` for it.
  bool AwaitFor(std::chrono::milliseconds patience) CAPSTAN_EXCLUDES(mutex) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    MutexLock lock(mutex);
    while (!done && completed.WaitUntil(mutex, deadline)) {
    }
    return done;
  }
};

}  // namespace

Status DeviceChannel::Send(vdi::ServerCommand* command) {
  const std::uint64_t now = MonotonicNanos();
  if (in_flight_.fetch_add(1, std::memory_order_relaxed) == 0) {
    busy_since_ns_.store(now, std::memory_order_relaxed);
    last_progress_ns_.store(now, std::memory_order_relaxed);
  }
  Status status = device_.SendCommand(command);
  if (!status.ok()) {
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
  }
  return status;
}

void DeviceChannel::NoteCompletion(const vdi::ServerCommand& command) {
  const std::uint64_t now = MonotonicNanos();
  last_progress_ns_.store(now, std::memory_order_relaxed);
  bytes_.fetch_add(command.bytes_transferred, std::memory_order_relaxed);
  if (in_flight_.fetch_sub(1, std::memory_order_relaxed) == 1) {
    const std::uint64_t since = busy_since_ns_.exchange(0, std::memory_order_relaxed);
    if (since != 0 && now > since) {
      busy_ns_.fetch_add(now - since, std::memory_order_relaxed);
    }
  }
}

Result<vdi::ServerCommand> DeviceChannel::Execute(vdi::ServerCommand command) {
  return Execute(command, nullptr);
}

Result<vdi::ServerCommand> DeviceChannel::ExecutePatiently(vdi::ServerCommand command,
                                                           const std::function<void()>& on_wait) {
  awaits_medium_.store(true, std::memory_order_release);
  Result<vdi::ServerCommand> done = Execute(command, on_wait);
  awaits_medium_.store(false, std::memory_order_release);
  return done;
}

Result<vdi::ServerCommand> DeviceChannel::Execute(vdi::ServerCommand command,
                                                  const std::function<void()>& on_wait) {
  AwaitedCommand awaited;
  awaited.command = command;
  awaited.channel = this;
  awaited.command.completion_routine = &AwaitedCommand::OnCompletion;
  awaited.command.completion_context = &awaited;
  if (Status sent = Send(&awaited.command); sent.code() == Code::kAborted) {
    awaited.command.completion_code = vdi::CompletionCode::kOperationAborted;
    return awaited.command;
  } else if (!sent.ok()) {
    return sent;
  }
  while (!awaited.AwaitFor(kWaitInterval)) {
    if (on_wait) {
      on_wait();
    }
  }
  return awaited.command;
}

std::uint64_t DeviceChannel::busy_ns() const {
  const std::uint64_t since = busy_since_ns_.load(std::memory_order_relaxed);
  const std::uint64_t running = since == 0 ? 0 : MonotonicNanos() - since;
  return busy_ns_.load(std::memory_order_relaxed) + running;
}

void DeviceChannel::SetState(std::string_view state) {
  MutexLock lock(mutex_);
  state_ = state;
}

DeviceSnapshot DeviceChannel::Sample(std::uint64_t now_ns) {
  DeviceSnapshot snapshot;
  snapshot.device_name = device_.name();
  snapshot.target = target_;
  snapshot.agent = agent_;
  snapshot.bytes = bytes();
  snapshot.in_flight = in_flight();
  const double total_s = static_cast<double>(now_ns - opened_ns_) / 1e9;
  snapshot.bytes_per_second_mean =
      total_s > 0 ? static_cast<std::uint64_t>(static_cast<double>(snapshot.bytes) / total_s) : 0;
  MutexLock lock(mutex_);
  if (now_ns - window_start_ns_ >= kRateWindowNs) {
    const double window_s = static_cast<double>(now_ns - window_start_ns_) / 1e9;
    rate_now_ = static_cast<std::uint64_t>(
        static_cast<double>(snapshot.bytes - window_start_bytes_) / window_s);
    window_start_ns_ = now_ns;
    window_start_bytes_ = snapshot.bytes;
  }
  // The first second has no window yet.
  snapshot.bytes_per_second_now = rate_now_.value_or(snapshot.bytes_per_second_mean);
  snapshot.state = state_;
  snapshot.wait = state_ != "Active" ? "" : snapshot.in_flight == 0 ? "reader" : "device";
  return snapshot;
}

Status CommandError(Direction direction, const std::string& target, vdi::CompletionCode code,
                    const std::string& detail) {
  const std::string cause = detail.empty() ? std::string(vdi::CompletionText(code)) : detail;
  return SqlError(direction == Direction::kWrite ? 3202 : 3203, target, cause);
}

}  // namespace capstan::engine
