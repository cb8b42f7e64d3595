#include "server/writers/postgres/cluster_place.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"
#include "vdi/base/clock.h"

namespace capstan::writers {
namespace {

constexpr const char* kPostgresUser = "postgres";
// It ends by itself as soon as its starter does, and kills what does not follow after five seconds.
constexpr std::chrono::seconds kPrivateServerWait{15};
constexpr std::chrono::milliseconds kPrivateServerPoll{10};

std::string ParentOf(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

Result<FileOwner> OwnerOfCluster(const std::string& data_directory) {
  struct stat info {};
  if (::geteuid() != 0) {
    return FileOwner{.user = ::geteuid(), .group = ::getegid()};
  }
  if (::stat(data_directory.c_str(), &info) == 0 && info.st_uid != 0) {
    return FileOwner{.user = info.st_uid, .group = info.st_gid};
  }
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getpwnam_r(kPostgresUser, &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return Error(Code::kFailedPrecondition, "there is no user '{}' to own '{}'", kPostgresUser,
                 data_directory)
        .WithHint(
            "PostgreSQL does not run as root: create the user, or the directory with an "
            "owner other than root");
  }
  return FileOwner{.user = found->pw_uid, .group = found->pw_gid};
}

pid_t RunningPostmaster(const std::string& data_directory) {
  const std::string line = FirstLine(data_directory + "/postmaster.pid");
  pid_t pid = 0;
  std::from_chars(line.data(), line.data() + line.size(), pid);
  if (pid <= 1 || pid == ::getpid() || (::kill(pid, 0) != 0 && errno != EPERM)) {
    return 0;
  }
  // A number that another program has by now is a leftover of a crash. Where the name cannot be
  // seen, the file is believed.
  const std::string name = FirstLine(fmt::format("/proc/{}/comm", pid));
  return name.empty() || name.starts_with("postgres") || name.starts_with("postmaster") ? pid : 0;
}

Status CheckNotRunning(const std::string& data_directory) {
  if (PathExists(PrivateFolderPath(data_directory))) {
    CAPSTAN_RETURN_IF_ERROR(LockPrivateFolder(data_directory).status());
  }
  const pid_t pid = RunningPostmaster(data_directory);
  if (pid == 0) {
    return OkStatus();
  }
  return SqlError(3101).WithHint(
      fmt::format("process {} runs PostgreSQL on '{}': stop it first", pid, data_directory));
}

std::string PrivateFolderPath(const std::string& data_directory) {
  return fmt::format("{}/{}", data_directory, kPrivateFolder);
}

Result<UniqueFd> LockPrivateFolder(const std::string& data_directory) {
  const std::string path = PrivateFolderPath(data_directory);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("unable to open the directory '{}'", path));
  }
  const Deadline deadline = Deadline::After(kPrivateServerWait);
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return OsError(errno, fmt::format("unable to lock the directory '{}'", path));
    }
    if (deadline.passed()) {
      return SqlError(3101).WithHint(
          fmt::format("PostgreSQL of a recovery that was interrupted still runs on '{}': stop it "
                      "first",
                      data_directory));
    }
    std::this_thread::sleep_for(kPrivateServerPoll);
  }
  return fd;
}

bool PathExists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

std::string RealPath(const std::string& path) {
  std::error_code error;
  std::string real = std::filesystem::canonical(path, error).string();
  return error ? path : real;
}

Result<bool> DirectoryIsEmpty(const std::string& path) {
  std::error_code error;
  std::filesystem::directory_iterator entry(path, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->path().filename() != "lost+found") {
      return false;
    }
  }
  if (error) {
    return OsError(error.value(), fmt::format("unable to list '{}'", path));
  }
  return true;
}

Status MakeDirectories(const std::string& path, const FileOwner& owner) {
  if (::mkdir(path.c_str(), S_IRWXU) == 0) {
    if (::geteuid() == 0 && ::chown(path.c_str(), owner.user, owner.group) != 0) {
      return OsError(errno, fmt::format("unable to give '{}' to its owner", path));
    }
    return OkStatus();
  }
  if (errno == EEXIST) {
    return OkStatus();
  }
  if (errno != ENOENT || path == "/") {
    return OsError(errno, fmt::format("unable to create the directory '{}'", path));
  }
  CAPSTAN_RETURN_IF_ERROR(MakeDirectories(ParentOf(path), owner));
  return MakeDirectories(path, owner);
}

Status RemoveContents(const std::string& directory) {
  std::error_code error;
  std::vector<std::filesystem::path> entries;
  for (std::filesystem::directory_iterator entry(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    entries.push_back(entry->path());
  }
  for (const auto& entry : entries) {
    if (!error) {
      std::filesystem::remove_all(entry, error);
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return OsError(error.value(), fmt::format("unable to remove what is in '{}'", directory));
  }
  return OkStatus();
}

Status SyncDirectory(const std::string& directory) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return OsError(errno, fmt::format("unable to make the directory '{}' durable", directory));
  }
  return OkStatus();
}

Status SyncFileSystem(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || ::syncfs(fd.get()) != 0) {
    return OsError(errno, fmt::format("unable to make what is below '{}' durable", path));
  }
  return OkStatus();
}

Status WriteFileDurably(const std::string& path, std::span<const std::byte> bytes,
                        const FileOwner& owner) {
  const std::string temporary = path + ".capstan";
  const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                           S_IRUSR | S_IWUSR));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("unable to create '{}'", temporary));
  }
  Status status = WriteFully(fd.get(), 0, bytes);
  if (status.ok() && ::geteuid() == 0 && ::fchown(fd.get(), owner.user, owner.group) != 0) {
    status = OsError(errno, "unable to give it to its owner");
  }
  if (status.ok() && ::fsync(fd.get()) != 0) {
    status = OsError(errno, "unable to make it durable");
  }
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return Annotate(std::move(status), fmt::format("unable to write '{}'", path));
  }
  return RenameDurably(temporary, path);
}

Status WriteFileDurably(const std::string& path, std::string_view text, const FileOwner& owner) {
  return WriteFileDurably(path, std::as_bytes(std::span(text)), owner);
}

Status RenameDurably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return OsError(errno, fmt::format("unable to rename '{}' to '{}'", from, to));
  }
  return SyncDirectory(ParentOf(to));
}

}  // namespace capstan::writers
