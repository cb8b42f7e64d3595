#include "tools/client/interrupt.h"

#include <array>
#include <csignal>
#include <cstdint>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vdi/base/check.h"

namespace capstan::cli {
namespace {

constexpr int kExitBySignal = 128;

sigset_t OurSignals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t signals = OurSignals();
  CAPSTAN_CHECK(::pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0);
  signals_.Reset(::signalfd(-1, &signals, SFD_CLOEXEC));
  stop_.Reset(::eventfd(0, EFD_CLOEXEC));
  CAPSTAN_CHECK(signals_.valid() && stop_.valid());
  thread_ = std::jthread([this] { Run(); });
}

Interrupt::~Interrupt() {
  const std::uint64_t one = 1;
  CAPSTAN_CHECK(::write(stop_.get(), &one, sizeof(one)) == sizeof(one));
  thread_.join();
}

void Interrupt::OnInterrupt(std::function<void()> callback) {
  const MutexLock lock(mutex_);
  callback_ = std::move(callback);
  if (interrupted_ && callback_) {
    callback_();
  }
}

void Interrupt::Rearm() {
  const MutexLock lock(mutex_);
  interrupted_ = false;
}

bool Interrupt::WaitFor(std::chrono::milliseconds duration) {
  const auto deadline = std::chrono::steady_clock::now() + duration;
  const MutexLock lock(mutex_);
  while (!interrupted_) {
    if (!interrupted_changed_.WaitUntil(mutex_, deadline)) {
      break;
    }
  }
  return interrupted_;
}

void Interrupt::Run() noexcept {
  std::array<pollfd, 2> waits = {pollfd{signals_.get(), POLLIN, 0}, pollfd{stop_.get(), POLLIN, 0}};
  for (;;) {
    // Without a time limit: the destructor always ends it.
    if (::poll(waits.data(), waits.size(), -1) < 0) {
      continue;  // EINTR; nothing else can fail here
    }
    if (waits[1].revents != 0) {
      return;
    }
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      Handle(static_cast<int>(info.ssi_signo));
    }
  }
}

void Interrupt::Handle(int signal) {
  const MutexLock lock(mutex_);
  if (interrupted_ || !callback_) {
    ::_exit(kExitBySignal + signal);
  }
  interrupted_ = true;
  callback_();
  interrupted_changed_.NotifyAll();
}

}  // namespace capstan::cli
