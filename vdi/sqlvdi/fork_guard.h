// ForkGuard: notices that the object it belongs to was made by another process, before a fork.
//
// A set belongs to the process that created it. In a forked child its thread does not exist, and
// closing it would close it for the parent, too: a child must leave it alone until it execs or
// ends. Costs one load of memory; asking the kernel for the process id would be a system call per
// command.
#pragma once

#include <atomic>
#include <cstdint>

namespace capstan::sqlvdi {

class ForkGuard {
 public:
  ForkGuard();
  bool in_other_process() const { return generation_ != current_.load(std::memory_order_relaxed); }

 private:
  // How many forks lie between this process and the one that loaded the library.
  static std::atomic<std::uint32_t> current_;
  const std::uint32_t generation_;
};

}  // namespace capstan::sqlvdi
