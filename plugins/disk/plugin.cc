// The C edge of the disk plugin: checks what comes in, and lets no exception out.
#include "capstan/plugin.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "plugins/disk/append_note.h"
#include "plugins/disk/disk_device.h"
#include "plugins/disk/medium_directory.h"
#include "plugins/disk/recovery.h"
#include "plugins/edge/edge.h"

// The opaque type of plugin.h.
struct capstan_device {
  std::unique_ptr<capstan::disk::DiskDevice> device;
};

namespace capstan::disk {
namespace {

constexpr edge::Edge kEdge{.plugin = "disk", .open_flags = CAPSTAN_OPEN_RESUME};

int Open(const capstan_open_params* params, capstan_device** device, capstan_error* error) {
  return kEdge.Run(error, [&] {
    if (Failure failure = kEdge.CheckOpen(*params); failure.failed()) {
      return failure;
    }
    auto opened = std::make_unique<capstan_device>();
    Failure failure = DiskDevice::Open(*params, &opened->device);
    if (!failure.failed()) {
      *device = opened.release();
    }
    return failure;
  });
}

int Submit(capstan_device* device, capstan_request* request, capstan_error* error) {
  return kEdge.Run(error, [&] { return device->device->Submit(request); });
}

int Close(capstan_device* device, uint32_t outcome, capstan_error* error) {
  const std::unique_ptr<capstan_device> owned(device);
  return kEdge.Run(error, [&] { return owned->device->Close(outcome); });
}

Failure StatSize(const MediumPath& path, const struct stat& status, uint64_t* result) {
  std::int64_t committed = status.st_size;
  const Descriptor medium(::open(path.path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  // What we may not read we may still look up.
  Failure failure =
      medium.valid() ? FindCommittedSize(path, medium.get(), &committed) : Failure::None();
  *result = static_cast<uint64_t>(committed);
  return failure;
}

Failure StatMedium(const char* target, capstan_stat_result* result) {
  result->exists = 0;
  result->size = 0;
  result->free_space = UINT64_MAX;
  result->modified_unix_s = 0;
  MediumPath path;
  if (Failure failure = MediumPath::Resolve(target, &path); failure.failed()) {
    return failure;
  }
  struct statvfs space {};
  if (::statvfs(path.directory.c_str(), &space) == 0) {
    result->free_space = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  }
  struct stat status {};
  if (::stat(path.path.c_str(), &status) != 0) {
    return errno == ENOENT ? Failure::None() : Failure::Unable(errno, "look up", target);
  }
  result->exists = 1;
  result->modified_unix_s = status.st_mtime;
  return S_ISREG(status.st_mode) ? StatSize(path, status, &result->size) : Failure::None();
}

int Stat(const char* target, capstan_stat_result* result, capstan_error* error) {
  return kEdge.Run(error, [&] { return StatMedium(target, result); });
}

Failure RemoveMedium(const char* target) {
  MediumPath path;
  if (Failure failure = MediumPath::Resolve(target, &path); failure.failed()) {
    return failure;
  }
  struct stat status {};
  if (::lstat(path.path.c_str(), &status) != 0) {
    return Failure::Unable(errno, "remove", target);
  }
  if (!S_ISREG(status.st_mode)) {
    return Failure::Of(S_ISDIR(status.st_mode) ? EISDIR : ENOTSUP,
                       "'" + std::string(target) + "' is not a regular file and stays");
  }
  Descriptor directory;
  std::vector<FoundNote> notes;
  Failure failure = OpenDirectoryOf(path, &directory);
  if (!failure.failed()) {
    failure = FindNotes(directory.get(), path, &notes);
  }
  if (failure.failed()) {
    return failure;
  }
  if (std::any_of(notes.begin(), notes.end(), [](const auto& note) { return note.held; })) {
    return Failure::Of(EBUSY, "medium '" + path.path + "' is being appended to and stays");
  }
  if (::unlink(path.path.c_str()) != 0) {
    return Failure::Unable(errno, "remove", target);
  }
  return notes.empty() ? Failure::None() : RemoveNotes(directory.get(), path);
}

int Remove(const char* target, capstan_error* error) {
  return kEdge.Run(error, [&] { return RemoveMedium(target); });
}

Failure RecoverMedium(const char* target, const char* token, uint32_t action) {
  MediumPath path;
  Failure failure = MediumPath::Resolve(target, &path);
  return failure.failed() ? failure : disk::Recover(path, token, action);
}

int RecoverEdge(const char* target, const char* token, uint32_t action, capstan_error* error) {
  return kEdge.Run(error, [&] { return RecoverMedium(target, token, action); });
}

int DeviceStatus(capstan_device* device, capstan_device_status* status, capstan_error*) {
  std::snprintf(status->mode, sizeof(status->mode), "%s", device->device->mode());
  return 0;
}

constexpr capstan_plugin kPlugin = {
    .struct_size = sizeof(capstan_plugin),
    .abi_version = CAPSTAN_PLUGIN_ABI_VERSION,
    .name = "disk",
    .version = "0.1.0",
    .vendor = "Capstan",
    .device_class = "DISK",
    .schemes = "",
    .capabilities = CAPSTAN_CAN_READ | CAPSTAN_CAN_WRITE | CAPSTAN_CAN_RECOVER |
                    CAPSTAN_CAN_REMOVE | CAPSTAN_CAN_APPEND | CAPSTAN_CAN_UNDO | CAPSTAN_CAN_RESUME,
    .device_features = CAPSTAN_FEATURE_RANDOM_ACCESS,
    .alignment = kAlignment,
    .open = Open,
    .submit = Submit,
    .close = Close,
    .stat = Stat,
    .remove = Remove,
    .recover = RecoverEdge,
    .configure = nullptr,
    .device_status = DeviceStatus,
};

}  // namespace
}  // namespace capstan::disk

extern "C" __attribute__((visibility("default"))) const capstan_plugin* capstan_plugin_get(
    uint32_t agent_abi_version) {
  return agent_abi_version == CAPSTAN_PLUGIN_ABI_VERSION ? &capstan::disk::kPlugin : nullptr;
}
