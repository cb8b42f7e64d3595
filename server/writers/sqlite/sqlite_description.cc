#include "server/writers/sqlite/sqlite_description.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "server/writers/volume_name.h"

namespace capstan::writers {
namespace {

std::int64_t CreatedUnixSeconds(int fd) {
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME | STATX_MTIME, &info) != 0) {
    return 0;
  }
  return (info.stx_mask & STATX_BTIME) != 0 ? info.stx_btime.tv_sec : info.stx_mtime.tv_sec;
}

// What keeps everybody from writing to it, root aside: its mode, its file system, its attributes.
bool IsReadOnly(int fd) {
  constexpr unsigned kAnybodyWrites = S_IWUSR | S_IWGRP | S_IWOTH;
  struct statx info {};
  struct statvfs volume {};
  return ::statx(fd, "", AT_EMPTY_PATH, STATX_MODE, &info) == 0 && ::fstatvfs(fd, &volume) == 0 &&
         ((info.stx_mode & kAnybodyWrites) == 0 || (volume.f_flag & ST_RDONLY) != 0 ||
          (info.stx_attributes & STATX_ATTR_IMMUTABLE) != 0);
}

}  // namespace

DatabaseDescription DescribeView(const SqliteView& view, const std::string& logical_name) {
  const SqliteHeader& header = view.header();
  DatabaseDescription description;
  description.writer = "sqlite";
  description.version = header.version_number != 0 ? SqliteVersionText(header.version_number)
                                                   : std::string(sqlite3_libversion());
  description.recovery_model = view.wal_header() ? RecoveryModel::kFull : RecoveryModel::kSimple;
  description.page_size = header.page_size;
  description.created_unix_s = CreatedUnixSeconds(view.fd());
  description.files.push_back(DatabaseFile{.file_id = 1,
                                           .logical_name = logical_name,
                                           .physical_name = view.path(),
                                           .type = 'D',
                                           .size_bytes = view.size_bytes(),
                                           .page_size = header.page_size,
                                           .volume = 0});
  description.read_only = IsReadOnly(view.fd());
  description.volumes.push_back(VolumeName(view.device()));
  return description;
}

}  // namespace capstan::writers
