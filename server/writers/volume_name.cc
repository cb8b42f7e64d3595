#include "server/writers/volume_name.h"

#include <fstream>
#include <sstream>

#include <fmt/core.h>
#include <sys/sysmacros.h>

namespace capstan::writers {

// From proc(5) mountinfo: "36 35 98:0 /root /mount/point ...". Where there is none to be found
// (btrfs, overlay), the device's numbers name the volume.
std::string VolumeName(dev_t device) {
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

}  // namespace capstan::writers
