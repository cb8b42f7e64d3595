/* Manifests: one line of text, then the digests. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store.h"

#define HEAD "capstan-example-cas 1 "

struct manifest_path manifest_path_of(const struct medium_name* medium, enum manifest_place place,
                                      const char* token) {
  struct manifest_path path;
  if (place == PLACE_MEDIUM) {
    snprintf(path.text, sizeof(path.text), "media/%s", medium->name);
  } else {
    snprintf(path.text, sizeof(path.text), "building/%s@%.*s%s", medium->name, TOKEN_SIZE_MAX,
             token, place == PLACE_REPLACED ? "~" : "");
  }
  return path;
}

int manifest_reserve(struct manifest* manifest, uint64_t count) {
  if (count > manifest->capacity) {
    const uint64_t capacity = count + count / 2 + 64;
    unsigned char(*const digests)[SHA256_SIZE] =
        realloc(manifest->digests, (size_t)capacity * SHA256_SIZE);
    if (digests == NULL) {
      return ENOMEM;
    }
    manifest->digests = digests;
    manifest->capacity = capacity;
  }
  if (count > manifest->count) {
    memset(manifest->digests[manifest->count], 0, (size_t)(count - manifest->count) * SHA256_SIZE);
    manifest->count = count;
  }
  return 0;
}

void manifest_free(struct manifest* manifest) {
  free(manifest->digests);
  manifest->digests = NULL;
  manifest->count = manifest->capacity = 0;
}

int manifest_read(const struct medium_name* medium, const struct manifest_path* path,
                  struct manifest* manifest) {
  const int fd = openat(medium->folder, path->text, O_RDONLY | O_CLOEXEC);
  FILE* const file = fd < 0 ? NULL : fdopen(fd, "r");
  uint64_t count;
  int status = 0;
  if (file == NULL) {
    status = errno;
    if (fd >= 0) {
      close(fd);
    }
    return status;
  }
  if (fscanf(file, HEAD "%" SCNu64 " %64s", &manifest->size, manifest->token) != 2 ||
      fgetc(file) != '\n') {
    status = EBADMSG;
  }
  count = (manifest->size + CHUNK_SIZE - 1) / CHUNK_SIZE;
  if (status == 0) {
    status = manifest_reserve(manifest, count);
  }
  if (status == 0 && count > 0 &&
      fread(manifest->digests, SHA256_SIZE, (size_t)count, file) != count) {
    status = EBADMSG;
  }
  fclose(file);
  return status;
}

int manifest_write(const struct medium_name* medium, const struct manifest_path* path,
                   const struct manifest* manifest) {
  char unfinished[64];
  FILE* file;
  int status = 0;
  int fd;
  snprintf(unfinished, sizeof(unfinished), "building/.%ld-%p", (long)getpid(),
           (const void*)manifest);
  fd = openat(medium->folder, unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0660);
  file = fd < 0 ? NULL : fdopen(fd, "w");
  if (file == NULL) {
    status = errno;
    if (fd >= 0) {
      close(fd);
    }
    return status;
  }
  fprintf(file, HEAD "%" PRIu64 " %s\n", manifest->size, manifest->token);
  if (manifest->count > 0) {
    fwrite(manifest->digests, SHA256_SIZE, (size_t)manifest->count, file);
  }
  if (ferror(file)) {
    status = EIO;
  }
  if (fclose(file) != 0 && status == 0) {
    status = errno;
  }
  if (status == 0 && renameat(medium->folder, unfinished, medium->folder, path->text) != 0) {
    status = errno;
  }
  if (status != 0) {
    unlinkat(medium->folder, unfinished, 0);
  }
  return status;
}
