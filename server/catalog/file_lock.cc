#include "server/catalog/file_lock.h"

#include <array>
#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace capstan::catalog {
namespace {

Status HeldError(const std::string& path, int lock_file) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(lock_file, text.data(), text.size(), 0);
  std::string_view holder(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  holder = holder.substr(0, holder.find('\n'));
  return Error(Code::kFailedPrecondition, "the catalog '{}' is in use by {}{}", path,
               holder.empty() ? "another process" : "process ", holder)
      .WithHint("stop that capstand first, or give this one a data directory of its own");
}

}  // namespace

Result<FileLock> FileLock::Acquire(const std::string& path) {
  const std::string lock_path = path + ".lock";
  UniqueFd file(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return OsError(errno, fmt::format("unable to open the lock file '{}'", lock_path))
        .WithHint("check that the data directory exists and that capstand may write to it");
  }
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return HeldError(path, file.get());
    }
    return OsError(errno, fmt::format("unable to lock '{}'", lock_path));
  }
  // The process id only informs: when it cannot be written (a full disk), the lock holds all the
  // same.
  const std::string holder = fmt::format("{}\n", ::getpid());
  if (::ftruncate(file.get(), 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(file.get(), holder.data(), holder.size(), 0);
  }
  return FileLock(std::move(file));
}

}  // namespace capstan::catalog
