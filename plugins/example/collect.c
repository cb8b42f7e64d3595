/* Removing chunks that nobody needs any more: all digests of all manifests, then all that is not
 * among them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store.h"

static int compare_digests(const void* a, const void* b) {
  return memcmp(a, b, SHA256_SIZE);
}

/* Adds the digests of all manifests in a folder. */
static int gather(const struct medium_name* medium, const char* path, struct manifest* all) {
  DIR* const folder = store_folder(medium, path);
  struct dirent* entry;
  int status = folder == NULL ? errno : 0;
  while (status == 0 && (entry = readdir(folder)) != NULL) {
    struct manifest one = {0};
    struct manifest_path file;
    const uint64_t before = all->count;
    const int length = snprintf(file.text, sizeof(file.text), "%s/%s", path, entry->d_name);
    if (entry->d_name[0] == '.' || length >= (int)sizeof(file.text)) {
      continue;
    }
    status = manifest_read(medium, &file, &one);
    if (status == 0) {
      status = manifest_reserve(all, before + one.count);
    }
    if (status == 0 && one.count > 0) {
      memcpy(all->digests[before], one.digests, (size_t)one.count * SHA256_SIZE);
    }
    manifest_free(&one);
  }
  if (folder != NULL) {
    closedir(folder);
  }
  return status;
}

/* False for what is no digest, too: a file that a crash left unfinished. */
static int is_needed(const char* name, const struct manifest* all) {
  unsigned char digest[SHA256_SIZE];
  int i;
  for (i = 0; i < SHA256_SIZE; ++i) {
    unsigned byte;
    if (sscanf(name + 2 * i, "%2x", &byte) != 1 || name[2 * i + 1] == '\0') {
      return 0;
    }
    digest[i] = (unsigned char)byte;
  }
  return all->count > 0 &&
         bsearch(digest, all->digests, (size_t)all->count, SHA256_SIZE, compare_digests) != NULL;
}

static void sweep(const struct medium_name* medium, const struct manifest* all) {
  int first;
  for (first = 0; first < 256; ++first) {
    char path[16];
    DIR* folder;
    struct dirent* entry;
    snprintf(path, sizeof(path), "chunks/%02x", first);
    folder = store_folder(medium, path);
    if (folder == NULL) {
      continue;
    }
    while ((entry = readdir(folder)) != NULL) {
      const int is_self = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
      if (!is_self && !is_needed(entry->d_name, all)) {
        unlinkat(dirfd(folder), entry->d_name, 0);
      }
    }
    closedir(folder);
  }
}

void store_collect(const struct medium_name* medium) {
  struct manifest all = {0};
  int lock;
  if (store_lock(medium, F_WRLCK, &lock) != 0) {
    return; /* a device is open: whoever comes next does it */
  }
  /* A manifest that cannot be read may need any chunk. */
  if (gather(medium, "media", &all) == 0 && gather(medium, "building", &all) == 0) {
    if (all.count > 0) {
      qsort(all.digests, (size_t)all.count, SHA256_SIZE, compare_digests);
    }
    sweep(medium, &all);
  }
  manifest_free(&all);
  close(lock);
}
