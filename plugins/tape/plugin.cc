// The C edge of the tape plugin: checks what comes in, and lets no exception out.
#include "capstan/plugin.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

#include "plugins/edge/edge.h"
#include "plugins/tape/configuration.h"
#include "plugins/tape/drive_claim.h"
#include "plugins/tape/hardware.h"
#include "plugins/tape/stat.h"
#include "plugins/tape/tape_device.h"

// The opaque type of plugin.h.
struct capstan_device {
  capstan::tape::DriveClaim claim;  // first: it ends when the device is gone
  std::unique_ptr<capstan::tape::TapeDevice> device;
};

namespace capstan::tape {
namespace {

Configuration& TheConfiguration() {
  static Configuration configuration;
  return configuration;
}

// Longer than it takes the agent to close a device after its last request.
constexpr std::chrono::seconds kClaimPatience{2};

// The file is read once, when the agent has given no options.
Failure FindDrive(const char* target, DriveAddress* address) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  Configuration& configuration = TheConfiguration();
  const char* const file = std::getenv("CAPSTAN_TAPE_CONFIG");
  if (configuration.empty() && file != nullptr && *file != '\0') {
    if (Failure failure = configuration.Load(file); failure.failed()) {
      return failure;
    }
  }
  return configuration.Find(target, address);
}

constexpr edge::Edge kEdge{.plugin = "tape", .resources_may_come = true};

Failure OpenDevice(const capstan_open_params& params, capstan_device* opened) {
  DriveAddress address;
  Failure failure = FindDrive(params.target, &address);
  if (!failure.failed()) {
    const std::string who = std::string("job '") + params.token + "' of this agent";
    failure = DriveClaim::Take(address.name, who, kClaimPatience, &opened->claim);
  }
  const Usage usage = TheConfiguration().usage();
  TapeDevice::Parts parts{.name = address.name,
                          .block_size = usage.block_size,
                          .eject_when_done = usage.eject_when_done};
  if (!failure.failed()) {
    failure = OpenDrive(address, &parts.drive);
  }
  if (!failure.failed()) {
    failure = OpenShelf(address, &parts.shelf);
  }
  if (failure.failed()) {
    return failure;
  }
  parts.memory = MemoryOf(address, usage.notes);
  return TapeDevice::Open(std::move(parts), params, &opened->device);
}

int Open(const capstan_open_params* params, capstan_device** device, capstan_error* error) {
  return kEdge.Run(error, [&]() -> Failure {
    if (Failure failure = kEdge.CheckOpen(*params); failure.failed()) {
      return failure;
    }
    auto opened = std::make_unique<capstan_device>();
    Failure failure = OpenDevice(*params, opened.get());
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

int Stat(const char* target, capstan_stat_result* result, capstan_error* error) {
  return kEdge.Run(error, [&] {
    DriveAddress address;
    DriveClaim claim;
    std::unique_ptr<TapeDrive> drive;
    std::unique_ptr<Shelf> shelf;
    Failure failure = FindDrive(target, &address);
    if (!failure.failed()) {
      failure = DriveClaim::Take(address.name, "a look at its medium", std::chrono::milliseconds(0),
                                 &claim);
      failure = failure.failed() ? failure : OpenDrive(address, &drive);
      if (failure.os_error == EBUSY) {
        failure = {};  // the library may know
      }
    }
    if (!failure.failed()) {
      failure = OpenShelf(address, &shelf);
    }
    MediumFacts facts;
    if (!failure.failed()) {
      failure = FindFacts(address.name, drive.get(), shelf.get(),
                          MemoryOf(address, TheConfiguration().usage().notes), &facts);
    }
    result->exists = facts.exists ? 1 : 0;
    result->size = facts.size_bytes;
    result->free_space = facts.free_bytes;
    result->modified_unix_s = facts.used_unix_s;
    return failure;
  });
}

// What was begun at the end of a tape is not whole, and the next backup overwrites it: there is
// nothing to undo. What was flushed is on the tape: there is nothing to finish.
int Recover(const char* target, const char* token, uint32_t action, capstan_error* error) {
  return kEdge.Run(error, [&]() -> Failure {
    if (action != CAPSTAN_RECOVER_COMMIT && action != CAPSTAN_RECOVER_DISCARD) {
      return {.os_error = EINVAL, .message = "unknown recover action " + std::to_string(action)};
    }
    DriveAddress address;
    std::unique_ptr<Shelf> shelf;
    Failure failure = FindDrive(target, &address);
    if (failure.failed() || action == CAPSTAN_RECOVER_DISCARD) {
      return failure;
    }
    failure = OpenShelf(address, &shelf);
    CartridgeMemory* const memory = MemoryOf(address, TheConfiguration().usage().notes);
    return failure.failed() || shelf == nullptr ? failure : FindWriting(*shelf, *memory, token);
  });
}

int Configure(const char* key, const char* value, capstan_error* error) {
  return kEdge.Run(error, [&] { return TheConfiguration().Set(key, value); });
}

int DeviceStatus(capstan_device* device, capstan_device_status* status, capstan_error* error) {
  return kEdge.Run(error, [&]() -> Failure {
    device->device->Status(status);
    return {};
  });
}

constexpr uint32_t kAlignment = 4096;  // none is needed; whole pages are copied fastest

constexpr capstan_plugin kPlugin = {
    .struct_size = sizeof(capstan_plugin),
    .abi_version = CAPSTAN_PLUGIN_ABI_VERSION,
    .name = "tape",
    .version = "0.1.0",
    .vendor = "Capstan",
    .device_class = "TAPE",
    .schemes = "",
    .capabilities = CAPSTAN_CAN_READ | CAPSTAN_CAN_WRITE | CAPSTAN_CAN_RECOVER | CAPSTAN_CAN_APPEND,
    .device_features = CAPSTAN_FEATURE_REMOVABLE | CAPSTAN_FEATURE_REWIND |
                       CAPSTAN_FEATURE_POSITION | CAPSTAN_FEATURE_SKIP_BLOCKS |
                       CAPSTAN_FEATURE_REVERSE | CAPSTAN_FEATURE_FILE_MARKS,
    .alignment = kAlignment,
    .open = Open,
    .submit = Submit,
    .close = Close,
    .stat = Stat,
    .remove = nullptr,
    .recover = Recover,
    .configure = Configure,
    .device_status = DeviceStatus,
};

}  // namespace
}  // namespace capstan::tape

extern "C" __attribute__((visibility("default"))) const capstan_plugin* capstan_plugin_get(
    uint32_t agent_abi_version) {
  return agent_abi_version == CAPSTAN_PLUGIN_ABI_VERSION ? &capstan::tape::kPlugin : nullptr;
}
