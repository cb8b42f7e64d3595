// The files of an emulated library: whole small files that are replaced at once, and locks that end
// with their process.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include <unistd.h>

#include "plugins/tape/failure.h"

namespace capstan::tape {

// Owns one file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Close() {
    if (fd_ >= 0) {
      ::close(std::exchange(fd_, -1));
    }
  }

 private:
  int fd_ = -1;
};

// "unable to <what> '<path>'", with what errno says.
Failure FileFailure(int os_error, const char* what, const std::string& path);

// Of at most 1 MiB; ENOENT if there is none.
Failure ReadText(const std::string& path, std::string* text);
// Whoever reads the file sees all of the old text or all of the new one, also after a crash.
Failure ReplaceText(const std::string& path, const std::string& text);
// What was made, renamed or removed in it is so after a crash, too.
Failure SyncDirectory(const std::string& path);

// One holder among all processes and threads; ends with its process.
class FileLock {
 public:
  // Waits for at most `patience`. EBUSY and transient if somebody has it: the message begins with
  // `what` and names the holder's process.
  static Failure Take(const std::string& path, const std::string& what,
                      std::chrono::milliseconds patience, FileLock* lock);

  // The process that holds the lock, 0 if nobody does. Takes it for a moment.
  static int HolderOf(const std::string& path);

  bool held() const { return file_.valid(); }
  void Release() { file_.Close(); }

 private:
  Descriptor file_;
};

}  // namespace capstan::tape
