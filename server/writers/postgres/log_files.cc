#include "server/writers/postgres/log_files.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/postgres/wal_format.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

Result<std::vector<std::string>> FileNames(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->is_regular_file(error)) {
      names.push_back(entry->path().filename().string());
    }
  }
  if (error) {
    return OsError(error.value(), fmt::format("unable to list '{}'", directory));
  }
  std::ranges::sort(names);
  return names;
}

bool IsHistory(const std::string& name) {
  return name.ends_with(".history");
}

// Zeros from `offset` to the segment's end, which stays where it is.
Status ClearFrom(const std::string& path, std::uint64_t offset, std::uint32_t segment_size) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(offset)) != 0 ||
      ::ftruncate(fd.get(), segment_size) != 0 || ::fsync(fd.get()) != 0) {
    return OsError(errno, fmt::format("unable to cut the log segment '{}'", path));
  }
  return OkStatus();
}

Status CopyFile(const std::string& from, const std::string& to, const FileOwner& owner) {
  std::error_code error;
  const std::string temporary = to + ".capstan";
  std::filesystem::copy_file(from, temporary, std::filesystem::copy_options::overwrite_existing,
                             error);
  if (error) {
    return OsError(error.value(), fmt::format("unable to copy '{}' to '{}'", from, temporary));
  }
  const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0 ||
      (::geteuid() == 0 && ::fchown(fd.get(), owner.user, owner.group) != 0) ||
      ::fsync(fd.get()) != 0) {
    return OsError(errno, fmt::format("unable to make '{}' durable", temporary));
  }
  CAPSTAN_RETURN_IF_ERROR(RenameDurably(temporary, to));
  return RemoveFile(from);
}

Status MoveFile(const std::string& from, const std::string& to, const FileOwner& owner) {
  if (::rename(from.c_str(), to.c_str()) == 0) {
    return OkStatus();
  }
  if (errno != EXDEV) {
    return OsError(errno, fmt::format("unable to move '{}' to '{}'", from, to));
  }
  return CopyFile(from, to, owner);
}

}  // namespace

Status TrimLog(const std::string& directory, Lsn end, std::uint32_t segment_size) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, FileNames(directory));
  for (const std::string& name : names) {
    const auto segment = ParseWalSegmentName(name, segment_size);
    if (!segment || segment->begin.value + segment_size <= end.value) {
      continue;
    }
    const std::string path = directory + "/" + name;
    CAPSTAN_RETURN_IF_ERROR(segment->begin >= end
                                ? RemoveFile(path)
                                : ClearFrom(path, end.value - segment->begin.value, segment_size));
  }
  return SyncDirectory(directory);
}

Status MoveLogFiles(const std::string& from, const std::string& to, const FileOwner& owner) {
  CAPSTAN_ASSIGN_OR_RETURN(std::vector<std::string> names, FileNames(from));
  std::stable_partition(names.begin(), names.end(), IsHistory);
  for (const std::string& name : names) {
    CAPSTAN_RETURN_IF_ERROR(MoveFile(from + "/" + name, to + "/" + name, owner));
  }
  CAPSTAN_RETURN_IF_ERROR(SyncDirectory(to));
  return SyncDirectory(from);
}

}  // namespace capstan::writers
