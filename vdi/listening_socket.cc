#include "vdi/listening_socket.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vdi/base/clock.h"

namespace capstan::vdi {
namespace {

constexpr int kBacklog = 64;
constexpr std::chrono::seconds kFolderLockPatience{2};
constexpr std::chrono::seconds kConnectPatience{5};

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Error(Code::kInvalidArgument, "socket path '{}' has {} bytes; 1 to {} are possible",
                 path, path.size(), sizeof(address.sun_path) - 1)
        .WithHint("choose a shorter folder for the socket");
  }
  path.copy(address.sun_path, path.size());
  return address;
}

const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

Result<UniqueFd> NewSocket(int extra_flags) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | extra_flags, 0));
  if (!fd.valid()) {
    return OsError(errno, "unable to create a socket");
  }
  return fd;
}

// Held while the returned descriptor is open; leaves no file behind.
Result<UniqueFd> LockFolderOf(const std::string& path) {
  const auto slash = path.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("unable to open folder '{}'", folder));
  }
  const Deadline deadline = Deadline::After(kFolderLockPatience);
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return OsError(errno, fmt::format("unable to lock folder '{}'", folder));
    }
    if (deadline.passed()) {
      return Error(Code::kUnavailable, "folder '{}' stays locked by another process", folder);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return fd;
}

// OK: nothing is in the way any more.
Status RemoveStale(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? OkStatus()
                           : OsError(errno, fmt::format("unable to look at '{}'", path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Error(Code::kInvalidArgument, "unable to listen at '{}': it exists and is no socket",
                 path);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const UniqueFd probe, NewSocket(SOCK_NONBLOCK));
  // A socket of another type (EPROTOTYPE) and a full backlog (EAGAIN) have a live owner, too.
  if (::connect(probe.get(), Generic(address), sizeof(address)) == 0 || errno != ECONNREFUSED) {
    return Error(Code::kAlreadyExists, "unable to listen at '{}': another server does", path)
        .WithHint("stop it, or choose another socket path");
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return OsError(errno, fmt::format("unable to remove the stale socket '{}'", path));
  }
  return OkStatus();
}

}  // namespace

Result<ListeningSocket> ListeningSocket::Bind(const std::string& path, mode_t mode) {
  CAPSTAN_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  CAPSTAN_ASSIGN_OR_RETURN(const UniqueFd folder_lock, LockFolderOf(path));
  CAPSTAN_RETURN_IF_ERROR(RemoveStale(path, address));
  CAPSTAN_ASSIGN_OR_RETURN(UniqueFd fd, NewSocket(SOCK_NONBLOCK));
  // The file inherits the socket's mode, less the umask: never open to more than `mode` allows,
  // not even before chmod.
  if (::fchmod(fd.get(), mode) != 0 || ::bind(fd.get(), Generic(address), sizeof(address)) != 0) {
    return OsError(errno, fmt::format("unable to listen at '{}'", path));
  }
  struct stat info {};
  if (::chmod(path.c_str(), mode) != 0 || ::lstat(path.c_str(), &info) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    const int cause = errno;
    ::unlink(path.c_str());
    return OsError(cause, fmt::format("unable to listen at '{}'", path));
  }
  return ListeningSocket(std::move(fd), path, info.st_dev, info.st_ino);
}

ListeningSocket::~ListeningSocket() {
  if (!fd_.valid()) {
    return;
  }
  struct stat info {};
  if (::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

Result<UniqueFd> ConnectSocket(const std::string& path) {
  CAPSTAN_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  CAPSTAN_ASSIGN_OR_RETURN(UniqueFd fd, NewSocket(0));
  // Bounds connect when the backlog is full.
  const timeval patience{.tv_sec = kConnectPatience.count(), .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  int outcome = 0;
  do {
    outcome = ::connect(fd.get(), Generic(address), sizeof(address));
  } while (outcome != 0 && errno == EINTR);
  if (outcome == 0) {
    return fd;
  }
  const int cause = errno;
  Status failed = OsError(cause, fmt::format("unable to reach an engine at '{}'", path));
  if (cause == EACCES || cause == EPERM) {
    return std::move(failed).WithHint("join the group of the socket, or ask its owner");
  }
  return Error(Code::kUnavailable, "{}", failed.message())
      .WithOsError(cause)
      .WithHint("start capstand, or give the path of its socket");
}

}  // namespace capstan::vdi
