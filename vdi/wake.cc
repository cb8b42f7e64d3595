#include "vdi/wake.h"

#include <algorithm>
#include <atomic>
#include <ctime>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace capstan::vdi {
namespace {

// A wake costs a sleeper tens of microseconds on a virtual machine; spinning longer never pays.
// The least is a probe: where the peer has no processor of its own, spinning keeps it from running,
// and the budget settles there. (Measured with two processes on one core of a loaded machine: one
// command at a time took 3 us without any spinning, 6 us with 1 us, 44 us with always 20 us.)
constexpr std::uint64_t kSpinNanosMax = 20'000;
constexpr std::uint64_t kSpinNanosMin = 500;

std::atomic<std::uint64_t> g_futex_calls{0};

// Shared futexes on purpose (no FUTEX_PRIVATE_FLAG): the other side is another process.
long Futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) {
  g_futex_calls.fetch_add(1, std::memory_order_relaxed);
  return ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, timeout,
                   nullptr, 0);
}

// On one CPU the peer cannot run while this side spins.
bool SpinningCanHelp() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  return ::sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || CPU_COUNT(&cpus) > 1;
}

}  // namespace

void WakeIfAsleep(SleepWord& word) {
  // SYNC(sleep), poster half: the work was stored before, sequentially consistent.
  if (word.asleep.load(std::memory_order_seq_cst) == 0) {
    return;
  }
  // Of several posters the one that clears the word makes the call.
  if (word.asleep.exchange(0, std::memory_order_seq_cst) != 0) {
    Futex(word.asleep, FUTEX_WAKE, 1, nullptr);
  }
}

std::uint64_t FutexCallCount() {
  return g_futex_calls.load(std::memory_order_relaxed);
}

SpinBudget::SpinBudget() : nanos_(SpinningCanHelp() ? kSpinNanosMax : 0) {}

void SpinBudget::Found() {
  nanos_ = std::min(nanos_ * 2, kSpinNanosMax);
}

void SpinBudget::Wasted() {
  if (nanos_ > 0) {
    nanos_ = std::max(nanos_ / 2, kSpinNanosMin);
  }
}

namespace wake_detail {

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

void Nap(SleepWord& word, Deadline deadline) {
  const auto nanos = std::min<std::chrono::nanoseconds>(deadline.remaining(), kNapMax).count();
  const timespec timeout{.tv_sec = nanos / 1'000'000'000, .tv_nsec = nanos % 1'000'000'000};
  // Whatever it returns (woken, changed meanwhile, timed out, interrupted), the caller looks again.
  Futex(word.asleep, FUTEX_WAIT, 1, &timeout);
}

}  // namespace wake_detail
}  // namespace capstan::vdi
