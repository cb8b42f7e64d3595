/* cas.so: media as manifests of chunks, see store.h. What an agent asks of it, and who it is. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "device.h"
#include "store.h"

static int cas_stat(const char* target, capstan_stat_result* result, capstan_error* error) {
  struct medium_name medium;
  struct manifest manifest = {0};
  struct manifest_path path;
  struct statvfs space;
  struct stat file;
  int status = medium_find(&medium, target, 0);
  if (status != 0) {
    return fail(error, status, "look up", target);
  }
  path = manifest_path_of(&medium, PLACE_MEDIUM, "");
  result->exists = 0;
  result->size = 0;
  result->modified_unix_s = 0;
  result->free_space =
      fstatvfs(medium.folder, &space) == 0 ? (uint64_t)space.f_bavail * space.f_frsize : UINT64_MAX;
  status = manifest_read(&medium, &path, &manifest);
  if (status == 0) {
    result->exists = 1;
    result->size = manifest.size;
    result->modified_unix_s =
        fstatat(medium.folder, path.text, &file, 0) == 0 ? file.st_mtim.tv_sec : 0;
  }
  manifest_free(&manifest);
  medium_forget(&medium);
  return status == 0 || status == ENOENT ? 0 : fail(error, status, "look up", target);
}

static int cas_remove(const char* target, capstan_error* error) {
  struct medium_name medium;
  struct manifest_path path;
  int lock = -1;
  int status = medium_find(&medium, target, 1);
  if (status != 0) {
    return fail(error, status, "remove", target);
  }
  path = manifest_path_of(&medium, PLACE_MEDIUM, "");
  status = medium_lock(&medium, &lock);
  if (status == 0 && unlinkat(medium.folder, path.text, 0) != 0) {
    status = errno;
  }
  if (status == 0) {
    status = store_flush(&medium);
    store_collect(&medium);
  }
  if (lock >= 0) {
    close(lock);
  }
  medium_forget(&medium);
  return status == 0 ? 0 : fail(error, status, "remove", target);
}

static int cas_recover(const char* target, const char* token, uint32_t action,
                       capstan_error* error) {
  struct medium_name medium;
  struct manifest_path replaced;
  int lock = -1;
  int status = medium_find(&medium, target, 1);
  if (status != 0) {
    return fail(error, status, "recover", target);
  }
  status = medium_lock(&medium, &lock);
  if (status == 0 && action == CAPSTAN_RECOVER_COMMIT) {
    replaced = manifest_path_of(&medium, PLACE_REPLACED, token);
    status = medium_commit(&medium, token, 0);
    if (status == 0) {
      unlinkat(medium.folder, replaced.text, 0);
    }
  } else if (status == 0) {
    status = medium_discard(&medium, token);
  }
  if (status == 0) {
    store_collect(&medium);
  }
  if (lock >= 0) {
    close(lock);
  }
  medium_forget(&medium);
  return status == 0 ? 0 : fail(error, status, "recover", target);
}

static int cas_device_status(capstan_device* device, capstan_device_status* status,
                             capstan_error* error) {
  (void)device;
  (void)error;
  strcpy(status->mode, "64 KiB chunks by SHA-256");
  return 0;
}

static const capstan_plugin plugin = {
    .struct_size = sizeof(capstan_plugin),
    .abi_version = CAPSTAN_PLUGIN_ABI_VERSION,
    .name = "cas",
    .version = "1.0",
    .vendor = "Example",
    .device_class = "URL",
    .schemes = "cas",
    .capabilities = CAPSTAN_CAN_READ | CAPSTAN_CAN_WRITE | CAPSTAN_CAN_RECOVER |
                    CAPSTAN_CAN_REMOVE | CAPSTAN_CAN_APPEND | CAPSTAN_CAN_UNDO,
    .device_features = CAPSTAN_FEATURE_RANDOM_ACCESS,
    .alignment = 512,
    .open = device_open,
    .submit = device_submit,
    .close = device_close,
    .stat = cas_stat,
    .remove = cas_remove,
    .recover = cas_recover,
    .device_status = cas_device_status,
};

const capstan_plugin* capstan_plugin_get(uint32_t agent_abi_version) {
  return agent_abi_version >= CAPSTAN_PLUGIN_ABI_VERSION ? &plugin : NULL;
}
