#include "server/writers/sqlite/sqlite_description.h"

#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <fmt/core.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace capstan::writers {
namespace {

// The mount point of a device, from proc(5) mountinfo: "36 35 98:0 /root /mount/point ...". Where
// there is none to be found (btrfs, overlay), the device's numbers name the volume.
std::string VolumeOf(dev_t device) {
  const std::string numbers = fmt::format("{}:{}", major(device), minor(device));
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device_numbers, root, mount_point;
    fields >> id >> parent >> device_numbers >> root >> mount_point;
    if (device_numbers == numbers && root == "/") {
      return mount_point;
    }
  }
  return "device " + numbers;
}

std::int64_t CreatedUnixSeconds(int fd) {
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME | STATX_MTIME, &info) != 0) {
    return 0;
  }
  return (info.stx_mask & STATX_BTIME) != 0 ? info.stx_btime.tv_sec : info.stx_mtime.tv_sec;
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
  description.volumes.push_back(VolumeOf(view.device()));
  return description;
}

}  // namespace capstan::writers
