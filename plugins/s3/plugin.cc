// The C edge of the S3 plugin: checks what comes in, and lets no exception out.
#include "capstan/plugin.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

#include "plugins/edge/edge.h"
#include "plugins/s3/configuration.h"
#include "plugins/s3/http_client.h"
#include "plugins/s3/medium.h"
#include "plugins/s3/part_memory.h"
#include "plugins/s3/s3_device.h"
#include "plugins/s3/settling.h"
#include "plugins/s3/writing.h"

namespace capstan::s3 {
namespace {

// What all open media of the process share, as long as there are any: connections and memory.
struct Shared {
  HttpClient http;
  PartMemory memory;
};

std::shared_ptr<Shared> TheShared() {
  static std::mutex mutex;
  static std::weak_ptr<Shared> known;  // guarded by mutex
  const std::lock_guard lock(mutex);
  std::shared_ptr<Shared> shared = known.lock();
  if (!shared) {
    shared = std::make_shared<Shared>();
    known = shared;
  }
  return shared;
}

}  // namespace
}  // namespace capstan::s3

// The opaque type of plugin.h.
struct capstan_device {
  std::shared_ptr<capstan::s3::Shared> shared;
  std::unique_ptr<capstan::s3::S3Device> device;
};

namespace capstan::s3 {
namespace {

constexpr edge::Edge kEdge{.plugin = "S3", .memory_may_come = true, .resources_may_come = true};

int Open(const capstan_open_params* params, capstan_device** device, capstan_error* error) {
  return kEdge.Run(error, [&] {
    if (Failure failure = kEdge.CheckOpen(*params); failure.failed()) {
      return failure;
    }
    auto opened = std::make_unique<capstan_device>();
    opened->shared = TheShared();
    Failure failure =
        S3Device::Open(*params, opened->shared->http, opened->shared->memory, &opened->device);
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

// Parses the target and opens its bucket for `body`.
template <typename Body>
Failure WithStore(const char* target, Body body) {
  MediumUrl url;
  const std::shared_ptr<Shared> shared = TheShared();
  std::unique_ptr<ObjectStore> store;
  Failure failure = MediumUrl::Parse(target, &url);
  if (!failure.failed()) {
    failure = ObjectStore::Open(shared->http, url, &store);
  }
  return failure.failed() ? failure : body(*store, url);
}

int Stat(const char* target, capstan_stat_result* result, capstan_error* error) {
  return kEdge.Run(error, [&] {
    return WithStore(target, [&](ObjectStore& store, const MediumUrl& url) {
      Medium medium;
      Failure failure = ReadMedium(store, url, &medium);
      result->exists = medium.exists() ? 1 : 0;
      result->size = static_cast<uint64_t>(medium.size);
      result->free_space = UINT64_MAX;
      result->modified_unix_s = medium.modified_unix_s;
      return failure;
    });
  });
}

Failure RemoveMedium(ObjectStore& store, const MediumUrl& url) {
  Medium medium;
  Failure failure = ReadMedium(store, url, &medium);
  if (!failure.failed() && !medium.exists()) {
    failure = Failure::Of(ENOENT, "unable to remove medium '" + url.text + "'");
  }
  if (!failure.failed()) {
    failure = CheckUnlocked(url, medium.lock_mode, medium.locked_until_unix_s);
  }
  std::vector<FoundNote> notes;
  if (!failure.failed()) {
    failure = FindNotes(store, url, &notes);
  }
  for (const FoundNote& found : notes) {
    if (found.held) {
      return Failure::Of(EBUSY, "medium '" + url.text + "' is being written and stays");
    }
  }
  // In order: without the first object the others are no medium.
  for (const MediumObject& object : medium.objects) {
    if (!failure.failed()) {
      failure = store.Delete(object.key);
    }
  }
  std::vector<ListedObject> more;
  if (!failure.failed()) {
    failure = store.List(MorePrefix(url), &more, nullptr);
  }
  return failure.failed() ? failure : RemoveUnreachable(store, url, "", more);
}

int Remove(const char* target, capstan_error* error) {
  return kEdge.Run(error, [&] { return WithStore(target, RemoveMedium); });
}

int Recover(const char* target, const char* token, uint32_t action, capstan_error* error) {
  return kEdge.Run(error, [&] {
    if (!IsToken(token)) {
      return Failure::Of(EINVAL, "token '" + std::string(token) + "' cannot be one of ours");
    }
    return WithStore(target, [&](ObjectStore& store, const MediumUrl& url) {
      switch (action) {
        case CAPSTAN_RECOVER_COMMIT:
          return Writing::RecoverCommit(store, url, token);
        case CAPSTAN_RECOVER_DISCARD:
          return Writing::RecoverDiscard(store, url, token);
        default:
          return Failure::Of(EINVAL, "unknown recover action " + std::to_string(action));
      }
    });
  });
}

int DeviceStatus(capstan_device* device, capstan_device_status* status, capstan_error* error) {
  return kEdge.Run(error, [&] {
    std::snprintf(status->mode, sizeof(status->mode), "%s", device->device->mode());
    std::snprintf(status->waits_for, sizeof(status->waits_for), "%s",
                  device->device->waits_for().c_str());
    return Failure::None();
  });
}

int ConfigureOption(const char* key, const char* value, capstan_error* error) {
  return kEdge.Run(error, [&] { return Configure(key, value); });
}

constexpr uint32_t kAlignment = 4096;  // none is needed; whole pages are copied fastest

constexpr capstan_plugin kPlugin = {
    .struct_size = sizeof(capstan_plugin),
    .abi_version = CAPSTAN_PLUGIN_ABI_VERSION,
    .name = "s3",
    .version = "0.1.0",
    .vendor = "Capstan",
    .device_class = "URL",
    .schemes = "s3",
    .capabilities = CAPSTAN_CAN_READ | CAPSTAN_CAN_WRITE | CAPSTAN_CAN_RECOVER |
                    CAPSTAN_CAN_REMOVE | CAPSTAN_CAN_APPEND | CAPSTAN_CAN_RETAIN | CAPSTAN_CAN_UNDO,
    .device_features = CAPSTAN_FEATURE_RANDOM_ACCESS,
    .alignment = kAlignment,
    .open = Open,
    .submit = Submit,
    .close = Close,
    .stat = Stat,
    .remove = Remove,
    .recover = Recover,
    .configure = ConfigureOption,
    .device_status = DeviceStatus,
};

}  // namespace
}  // namespace capstan::s3

extern "C" __attribute__((visibility("default"))) const capstan_plugin* capstan_plugin_get(
    uint32_t agent_abi_version) {
  return agent_abi_version == CAPSTAN_PLUGIN_ABI_VERSION ? &capstan::s3::kPlugin : nullptr;
}
