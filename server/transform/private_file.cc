#include "server/transform/private_file.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vdi/base/unique_fd.h"

namespace capstan::transform {
namespace {

Result<SecretBytes> ReadFile(const std::string& path, const std::string& what, std::size_t size_max,
                             bool owner_only) {
  // Not to hang where somebody put a pipe.
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) {
    return OsError(errno, fmt::format("unable to open {} '{}'", what, path));
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    return OsError(errno, fmt::format("unable to look at {} '{}'", what, path));
  }
  if (!S_ISREG(status.st_mode)) {
    return Error(Code::kInvalidArgument, "{} '{}' is no regular file", what, path);
  }
  if (owner_only && (status.st_mode & 0077) != 0) {
    return Error(Code::kPermissionDenied, "others than its owner may open {} '{}'", what, path)
        .WithHint(fmt::format("chmod 600 '{}'", path));
  }
  SecretBytes content(size_max + 1);
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = ::read(file.get(), content.data() + size, content.size() - size);
    if (got < 0) {
      return OsError(errno, fmt::format("unable to read {} '{}'", what, path));
    }
    if (got == 0) {
      break;
    }
    size += static_cast<std::size_t>(got);
  }
  if (size > size_max) {
    return Error(Code::kInvalidArgument, "{} '{}' has more than {} bytes", what, path, size_max);
  }
  content.Shrink(size);
  return content;
}

std::string FolderOf(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

Status SyncFolderOf(const std::string& path) {
  const UniqueFd folder(::open(FolderOf(path).c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  if (!folder.valid() || ::fsync(folder.get()) != 0) {
    return OsError(errno, fmt::format("unable to make '{}' durable", path));
  }
  return OkStatus();
}

Status WriteAll(const UniqueFd& file, const SecretBytes& content) {
  std::size_t at = 0;
  while (at < content.size()) {
    const ssize_t size = ::write(file.get(), content.data() + at, content.size() - at);
    if (size < 0) {
      return OsError(errno, "unable to write");
    }
    at += static_cast<std::size_t>(size);
  }
  return ::fsync(file.get()) == 0 ? OkStatus() : OsError(errno, "unable to make durable");
}

}  // namespace

Result<SecretBytes> ReadSmallFile(const std::string& path, const std::string& what,
                                  std::size_t size_max) {
  return ReadFile(path, what, size_max, false);
}

Result<SecretBytes> ReadPrivateFile(const std::string& path, const std::string& what,
                                    std::size_t size_max) {
  return ReadFile(path, what, size_max, true);
}

Status CreatePrivateFile(const std::string& path, const SecretBytes& content) {
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());  // of a server that died here
  const UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return OsError(errno, fmt::format("unable to create '{}'", fresh));
  }
  Status status = WriteAll(file, content);
  // link, since a rename would take the place of a file that is there.
  if (status.ok() && ::link(fresh.c_str(), path.c_str()) != 0) {
    status = OsError(errno, "unable to name it");
  }
  ::unlink(fresh.c_str());
  if (!status.ok()) {
    return Annotate(std::move(status), fmt::format("'{}'", path));
  }
  return SyncFolderOf(path);
}

Status RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    return OsError(errno, fmt::format("unable to remove '{}'", path));
  }
  return SyncFolderOf(path);
}

}  // namespace capstan::transform
