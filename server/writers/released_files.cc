#include "server/writers/released_files.h"

#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

namespace capstan::writers {

ReleasedFiles::~ReleasedFiles() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

UniqueFd ReleasedFiles::Hold(int fd) {
  return UniqueFd(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_PATH | O_CLOEXEC));
}

void ReleasedFiles::LetGo(UniqueFd hold) {
  MutexLock lock(mutex_);
  holds_.push_back(std::move(hold));
  if (!thread_.joinable()) {
    thread_ = std::jthread([this]() noexcept { Work(); });
  }
  changed_.NotifyAll();
}

void ReleasedFiles::Work() {
  while (true) {
    std::vector<UniqueFd> closing;  // outside the lock: this is what takes its time
    MutexLock lock(mutex_);
    while (holds_.empty() && !stopping_) {
      changed_.Wait(mutex_);
    }
    if (holds_.empty()) {
      return;
    }
    closing.swap(holds_);
  }
}

}  // namespace capstan::writers
