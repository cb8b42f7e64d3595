// ReleasedFiles: lets go of files that have lost their name, in the background.
//
// The last close of a nameless file frees its blocks, which takes some file systems a good part of
// the time that writing them took. Whoever replaces a file takes a hold of the old one first,
// closes whatever else it has of it, and leaves the last close to this class. A hold is an O_PATH
// descriptor: it keeps the file without being open, so closing it drops no lock of this process.
//
// Threads: any. Owns the one that closes, from the first file on: until then nothing runs that a
// forked child would miss. The destructor waits until everything is closed.
#pragma once

#include <thread>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class ReleasedFiles {
 public:
  ReleasedFiles() = default;
  ~ReleasedFiles();
  ReleasedFiles(const ReleasedFiles&) = delete;
  ReleasedFiles& operator=(const ReleasedFiles&) = delete;

  // A hold of the file that `fd` has open; not valid if the system gives none, which costs only
  // time.
  static UniqueFd Hold(int fd);
  void LetGo(UniqueFd hold) CAPSTAN_EXCLUDES(mutex_);

 private:
  void Work() CAPSTAN_EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::vector<UniqueFd> holds_ CAPSTAN_GUARDED_BY(mutex_);
  bool stopping_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::jthread thread_;  // last: joined before the rest goes
};

}  // namespace capstan::writers
