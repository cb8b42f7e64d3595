#include "vdi/sqlvdi/fork_guard.h"

#include <pthread.h>

namespace capstan::sqlvdi {

std::atomic<std::uint32_t> ForkGuard::current_{0};

ForkGuard::ForkGuard()
    : generation_([] {
        // Unregistered by the C library when this one is unloaded.
        [[maybe_unused]] static const int registered = ::pthread_atfork(
            nullptr, nullptr, [] { current_.fetch_add(1, std::memory_order_relaxed); });
        return current_.load(std::memory_order_relaxed);
      }()) {}

}  // namespace capstan::sqlvdi
