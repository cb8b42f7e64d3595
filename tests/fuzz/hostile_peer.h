// What a lying peer can do, whichever end it plays: messages spoiled on their way, descriptors that
// nobody asked for, and a hand in shared memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fuzz/hostile_steps.h"
#include "tests/support/process_footprint.h"
#include "vdi/base/check.h"
#include "vdi/base/clock.h"
#include "vdi/base/unique_fd.h"
#include "vdi/control_message.h"
#include "vdi/segment_layout.h"
#include "vdi/shared_memory.h"
#include "vdi/wake.h"

namespace capstan::fuzz {

// Every call of the end under attack returns within its deadline; generous, for a loaded machine.
class CallTimer {
 public:
  ~CallTimer() { CAPSTAN_CHECK(!limit_.passed()); }

 private:
  const Deadline limit_ = Deadline::After(std::chrono::seconds(10));
};

// --- messages ---

using Bytes = std::vector<std::byte>;

template <typename Message>
Bytes BytesOf(const Message& message) {
  Bytes bytes(sizeof(message));
  std::memcpy(bytes.data(), &message, sizeof(message));
  return bytes;
}

// Nothing, one word overwritten, cut off, or lengthened: `variant` says which.
inline void Spoil(Bytes& bytes, unsigned variant, const Step& step) {
  switch (variant % 4) {
    case 0:
      break;
    case 1:
      if (bytes.size() >= 4) {
        std::memcpy(bytes.data() + step.where % (bytes.size() - 3), &step.value, 4);
      }
      break;
    case 2:
      bytes.resize(step.where % (bytes.size() + 1));
      break;
    default:
      bytes.resize(bytes.size() + step.where % 20000);
  }
}

// Never blocks; what the peer does not take is lost. `fds`: up to 4, all sent along.
inline void SendRaw(int socket, const Bytes& bytes, std::span<const int> fds) {
  iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  [[maybe_unused]] const ssize_t sent = ::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Something to pass that nobody asked for.
inline int StrayDescriptor() {
  static const UniqueFd stray(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return stray.get();
}

// What a process holds between two inputs.
inline test::ProcessFootprint FootprintAtRest() {
  CAPSTAN_CHECK(StrayDescriptor() >= 0);
  return test::ProcessFootprint::Now();
}

// --- memory ---

// The control area as its peer has mapped it. Offsets and indexes may be anything.
class ControlArea {
 public:
  ControlArea(vdi::SharedMemory memory, std::uint32_t device_count)
      : memory_(std::move(memory)), device_count_(device_count) {}

  vdi::ControlHeader& header() { return *reinterpret_cast<vdi::ControlHeader*>(memory_.data()); }
  vdi::DeviceArea& device(std::size_t index) {
    return *reinterpret_cast<vdi::DeviceArea*>(memory_.data() + sizeof(vdi::ControlHeader) +
                                               index % device_count_ * vdi::kDeviceAreaSize);
  }
  int fd() const { return memory_.fd(); }

  void PokeWord(std::uint64_t where, std::uint64_t value) {
    std::byte* word = memory_.data() + where % (memory_.size() / 8) * 8;
    std::atomic_ref(*reinterpret_cast<std::uint64_t*>(word)).store(value);
  }
  void PokeByte(std::uint64_t where, std::uint8_t value) {
    std::byte* byte = memory_.data() + where % memory_.size();
    std::atomic_ref(*reinterpret_cast<std::uint8_t*>(byte)).store(value);
  }

  // Whether the rest of the last page is as the kernel gave it: who writes behind the area writes
  // there first, and neither the processor nor a sanitizer notices.
  bool TailIsUntouched() const {
    const std::size_t end = (memory_.size() + kPage - 1) / kPage * kPage;
    return std::all_of(memory_.data() + memory_.size(), memory_.data() + end,
                       [](std::byte byte) { return byte == std::byte{0}; });
  }

 private:
  static constexpr std::size_t kPage = 4096;
  vdi::SharedMemory memory_;
  const std::uint32_t device_count_;
};

// Takes the pages away that the other end has reserved; allowed, as only the size is sealed.
inline void PunchHole(int fd, std::uint64_t where) {
  [[maybe_unused]] const int outcome = ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                                   static_cast<off_t>(where % 64 * 4096), 2 * 4096);
}

// Wakes whoever sleeps, whatever the word says. A spoiled word delays its sleeper by a nap of
// 250 ms, which is in order, but would leave no time for anything else: peers that are not meant to
// do so wake the sleeper themselves before they wait for it.
inline void WakeAnyway(vdi::SleepWord& word) {
  word.asleep.store(0);
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word.asleep), FUTEX_WAKE, 1, nullptr,
            nullptr, 0);
}

}  // namespace capstan::fuzz
