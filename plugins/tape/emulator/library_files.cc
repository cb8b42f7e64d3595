#include "plugins/tape/emulator/library_files.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

namespace capstan::tape {
namespace {

constexpr std::size_t kTextSizeMax = 1U << 20U;
constexpr std::chrono::milliseconds kLockPollInterval{5};

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
  }
  return true;
}

// 0 if it does not say.
int ReadHolder(int fd) {
  char text[16] = {};
  const ssize_t size = ::pread(fd, text, sizeof text - 1, 0);
  return size > 0 ? std::atoi(text) : 0;
}

}  // namespace

Failure FileFailure(int os_error, const char* what, const std::string& path) {
  return {.os_error = os_error, .message = std::string("unable to ") + what + " '" + path + "'"};
}

Failure ReadText(const std::string& path, std::string* text) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    return FileFailure(errno, "open", path);
  }
  text->clear();
  char part[4096];
  while (true) {
    const ssize_t size = ::read(file.get(), part, sizeof part);
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size < 0) {
      return FileFailure(errno, "read", path);
    }
    if (size == 0) {
      return {};
    }
    text->append(part, static_cast<std::size_t>(size));
    if (text->size() > kTextSizeMax) {
      return FileFailure(EFBIG, "read", path);
    }
  }
}

Failure ReplaceText(const std::string& path, const std::string& text) {
  // Who replaces a file holds the lock that protects it, so that one name is enough.
  const std::string temporary = path + ".new";
  {
    const Descriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
    if (!file.valid()) {
      return FileFailure(errno, "create", temporary);
    }
    if (!WriteAll(file.get(), text) || ::fdatasync(file.get()) != 0) {
      return FileFailure(errno, "write", temporary);
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return FileFailure(errno, "replace", path);
  }
  return SyncDirectory(std::filesystem::path(path).parent_path().string());
}

Failure SyncDirectory(const std::string& path) {
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) {
    return FileFailure(errno, "flush the folder", path);
  }
  return {};
}

Failure FileLock::Take(const std::string& path, const std::string& what,
                       std::chrono::milliseconds patience, FileLock* lock) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  if (!file.valid()) {
    return FileFailure(errno, "open the lock", path);
  }
  const auto deadline = std::chrono::steady_clock::now() + patience;
  // flock belongs to the open file: a second one of the same process is refused as well.
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return FileFailure(errno, "lock", path);
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      const int holder = ReadHolder(file.get());
      return {.os_error = EBUSY,
              .message = what + " is in use" +
                         (holder > 0 ? " by process " + std::to_string(holder) : std::string()),
              .hint = "try again when it has finished; its end releases what it uses",
              .transient = true};
    }
    std::this_thread::sleep_for(kLockPollInterval);
  }
  const std::string holder = std::to_string(::getpid()) + "\n";
  // For people and messages; the lock does not depend on it.
  if (::ftruncate(file.get(), 0) == 0) {
    WriteAll(file.get(), holder);
  }
  lock->file_ = std::move(file);
  return {};
}

int FileLock::HolderOf(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const bool taken = file.valid() && ::flock(file.get(), LOCK_SH | LOCK_NB) != 0;
  return taken && errno == EWOULDBLOCK ? ReadHolder(file.get()) : 0;
}

}  // namespace capstan::tape
