#include "server/writers/sqlite/sqlite_file_guard.h"

#include <cerrno>
#include <map>
#include <utility>
#include <vector>

#include <fcntl.h>

#include "server/messages/messages.h"
#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

using FileKey = std::pair<dev_t, ino_t>;

Status OpenError(int os_error) {
  return OsError(os_error, "open").WithOsError(os_error);
}

Status CheckKind(const struct stat& info, SqliteFileGuard::EmptyFile empty) {
  if (S_ISDIR(info.st_mode)) {
    return Error(Code::kInvalidArgument, "it is a directory");
  }
  if (!S_ISREG(info.st_mode)) {
    return Error(Code::kInvalidArgument, "it is not a regular file");
  }
  if (info.st_size == 0 && empty == SqliteFileGuard::EmptyFile::kRefuse) {
    return Error(Code::kFailedPrecondition, "the file is empty")
        .WithHint("SQLite writes the file with the first table; back it up after that");
  }
  return OkStatus();
}

}  // namespace

struct SqliteFileGuard::Entry {
  FileKey key;
  int guards = 0;
  std::vector<UniqueFd>
      descriptors;  // the first is the one in use, the rest must only not be closed
};

class SqliteFileGuard::Registry {
 public:
  static Registry& Get() {
    static Registry* const registry = new Registry;  // never destroyed: guards may outlive main
    return *registry;
  }

  Result<Entry*> Acquire(const std::string& path, EmptyFile empty) {
    MutexLock lock(mutex_);
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
      return OpenError(errno);
    }
    CAPSTAN_RETURN_IF_ERROR(CheckKind(info, empty));
    if (const auto found = entries_.find({info.st_dev, info.st_ino}); found != entries_.end()) {
      ++found->second.guards;
      return &found->second;
    }
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
      return OpenError(errno);
    }
    // Another file may have come to the path since stat(), even one that has an entry: then our
    // new descriptor must be kept with it.
    const FileKey key{info.st_dev, info.st_ino};
    Entry& entry = entries_[key];
    entry.key = key;
    entry.descriptors.push_back(std::move(fd));
    ++entry.guards;
    return &entry;
  }

  Result<int> OpenForWriting(Entry* entry, const std::string& path) {
    MutexLock lock(mutex_);
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat info {};
    if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
      return OpenError(errno);
    }
    const auto home = entries_.find({info.st_dev, info.st_ino});
    const int number = fd.get();
    if (home != entries_.end()) {
      home->second.descriptors.push_back(std::move(fd));
    }
    if (home == entries_.end() || &home->second != entry) {
      return Error(Code::kUnavailable, "another file took its place just now");
    }
    return number;
  }

  void Release(Entry* entry) {
    MutexLock lock(mutex_);
    if (--entry->guards == 0) {
      entries_.erase(entry->key);
    }
  }

 private:
  Mutex mutex_;
  std::map<FileKey, Entry> entries_ CAPSTAN_GUARDED_BY(mutex_);
};

Result<SqliteFileGuard> SqliteFileGuard::Acquire(const std::string& path, EmptyFile empty) {
  CAPSTAN_ASSIGN_OR_RETURN(Entry * entry, Registry::Get().Acquire(path, empty));
  return SqliteFileGuard(entry);
}

SqliteFileGuard::SqliteFileGuard(SqliteFileGuard&& other) noexcept
    : entry_(std::exchange(other.entry_, nullptr)) {}

SqliteFileGuard& SqliteFileGuard::operator=(SqliteFileGuard&& other) noexcept {
  std::swap(entry_, other.entry_);
  return *this;
}

SqliteFileGuard::~SqliteFileGuard() {
  if (entry_ != nullptr) {
    Registry::Get().Release(entry_);
  }
}

Result<int> SqliteFileGuard::OpenForWriting(const std::string& path) {
  return Registry::Get().OpenForWriting(entry_, path);
}

int SqliteFileGuard::fd() const {
  return entry_->descriptors.front().get();
}

bool SqliteFileGuard::IsAt(const std::string& path) const {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && info.st_dev == device() && info.st_ino == inode();
}

dev_t SqliteFileGuard::device() const {
  return entry_->key.first;
}

ino_t SqliteFileGuard::inode() const {
  return entry_->key.second;
}

}  // namespace capstan::writers
