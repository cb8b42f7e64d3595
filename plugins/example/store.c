#define _GNU_SOURCE
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCHEME "cas://"

static int make_folder(int folder, const char* name) {
  return mkdirat(folder, name, 0770) == 0 || errno == EEXIST ? 0 : errno;
}

int medium_find(struct medium_name* medium, const char* url, int create) {
  static const char* const folders[] = {"media", "building", "chunks"};
  char path[4096];
  const char* slash;
  size_t i;
  int status = 0;
  medium->folder = -1;
  if (strncmp(url, SCHEME, strlen(SCHEME)) == 0) {
    url += strlen(SCHEME);
  }
  slash = strrchr(url, '/');
  /* '@' and '~' mark constructions, '.' files that are not finished. */
  if (slash == NULL || url[0] != '/' || slash[1] == '\0' || slash[1] == '.' ||
      strpbrk(slash + 1, "@~") != NULL) {
    return EINVAL;
  }
  if (strlen(slash + 1) > NAME_SIZE_MAX || (size_t)(slash - url) >= sizeof(path) - 1) {
    return ENAMETOOLONG;
  }
  strcpy(medium->name, slash + 1);
  snprintf(path, sizeof(path), "%.*s/", (int)(slash - url), url);
  medium->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (medium->folder < 0) {
    return errno;
  }
  for (i = 0; create && status == 0 && i < sizeof(folders) / sizeof(folders[0]); ++i) {
    status = make_folder(medium->folder, folders[i]);
  }
  if (status != 0) {
    medium_forget(medium);
  }
  return status;
}

void medium_forget(struct medium_name* medium) {
  if (medium->folder >= 0) {
    close(medium->folder);
    medium->folder = -1;
  }
}

int store_flush(const struct medium_name* medium) {
  return syncfs(medium->folder) == 0 ? 0 : errno;
}

/* --- chunks ----------------------------------------------------------------------------------- */

struct chunk_path {
  char text[96];
};

static struct chunk_path chunk_path_of(const unsigned char digest[SHA256_SIZE]) {
  struct chunk_path path;
  char* at = path.text + sprintf(path.text, "chunks/%02x/", digest[0]);
  int i;
  for (i = 0; i < SHA256_SIZE; ++i) {
    at += sprintf(at, "%02x", digest[i]);
  }
  return path;
}

static int write_all(int fd, const void* bytes, size_t size) {
  const char* at = bytes;
  while (size > 0) {
    const ssize_t written = write(fd, at, size);
    if (written < 0 && errno != EINTR) {
      return errno;
    }
    at += written > 0 ? written : 0;
    size -= written > 0 ? (size_t)written : 0;
  }
  return 0;
}

int chunk_put(const struct medium_name* medium, const unsigned char* bytes,
              unsigned char digest[SHA256_SIZE]) {
  struct chunk_path path;
  struct stat there;
  char folder[16];
  char unfinished[64];
  int status;
  int fd;
  sha256(bytes, CHUNK_SIZE, digest);
  path = chunk_path_of(digest);
  if (fstatat(medium->folder, path.text, &there, 0) == 0 && there.st_size == CHUNK_SIZE) {
    return 0;
  }
  snprintf(folder, sizeof(folder), "chunks/%02x", digest[0]);
  status = make_folder(medium->folder, folder);
  /* An address of this device's own makes the name unique in the process. */
  snprintf(unfinished, sizeof(unfinished), "%s/.%ld-%p", folder, (long)getpid(),
           (const void*)bytes);
  fd = status == 0
           ? openat(medium->folder, unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0660)
           : -1;
  if (fd < 0) {
    return status != 0 ? status : errno;
  }
  status = write_all(fd, bytes, CHUNK_SIZE);
  close(fd);
  if (status == 0 && renameat(medium->folder, unfinished, medium->folder, path.text) != 0) {
    status = errno;
  }
  if (status != 0) {
    unlinkat(medium->folder, unfinished, 0);
  }
  return status;
}

int chunk_get(const struct medium_name* medium, const unsigned char digest[SHA256_SIZE],
              unsigned char* bytes) {
  static const unsigned char hole[SHA256_SIZE];
  unsigned char found[SHA256_SIZE];
  ssize_t got;
  int fd;
  if (memcmp(digest, hole, SHA256_SIZE) == 0) {
    memset(bytes, 0, CHUNK_SIZE);
    return 0;
  }
  fd = openat(medium->folder, chunk_path_of(digest).text, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return errno;
  }
  got = pread(fd, bytes, CHUNK_SIZE, 0);
  close(fd);
  if (got < 0) {
    return errno;
  }
  if (got != CHUNK_SIZE) {
    return EBADMSG;
  }
  sha256(bytes, CHUNK_SIZE, found);
  return memcmp(found, digest, SHA256_SIZE) == 0 ? 0 : EBADMSG;
}

/* --- writers ---------------------------------------------------------------------------------- */

/* Locks of an open file, not of a process: two devices of one process exclude each other, too. */
static int lock_place(const struct medium_name* medium, short kind, off_t place, int* fd) {
  struct flock lock = {0};
  *fd = openat(medium->folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0660);
  if (*fd < 0) {
    return errno;
  }
  lock.l_type = kind;
  lock.l_whence = SEEK_SET;
  lock.l_start = place;
  lock.l_len = 1;
  if (fcntl(*fd, F_OFD_SETLK, &lock) != 0) {
    const int status = errno == EAGAIN || errno == EACCES ? EBUSY : errno;
    close(*fd);
    *fd = -1;
    return status;
  }
  return 0;
}

int store_lock(const struct medium_name* medium, short kind, int* fd) {
  return lock_place(medium, kind, 0, fd);
}

int medium_lock(const struct medium_name* medium, int* fd) {
  unsigned char digest[SHA256_SIZE];
  off_t place = 0;
  int i;
  sha256(medium->name, strlen(medium->name), digest);
  for (i = 0; i < 7; ++i) {
    place = place << 8 | digest[i];
  }
  return lock_place(medium, F_WRLCK, place + 1, fd);
}

DIR* store_folder(const struct medium_name* medium, const char* path) {
  const int fd = openat(medium->folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const folder = fd < 0 ? NULL : fdopendir(fd);
  if (fd >= 0 && folder == NULL) {
    close(fd);
  }
  return folder;
}

int medium_unsettled(const struct medium_name* medium, const char* token) {
  const size_t length = strlen(medium->name);
  DIR* const folder = store_folder(medium, "building");
  struct dirent* entry;
  int status = folder == NULL ? errno : 0;
  while (status == 0 && (entry = readdir(folder)) != NULL) {
    if (strncmp(entry->d_name, medium->name, length) == 0 && entry->d_name[length] == '@' &&
        strcmp(entry->d_name + length + 1, token) != 0) {
      status = EBUSY;
    }
  }
  if (folder != NULL) {
    closedir(folder);
  }
  return status;
}

/* Once the rename is done the medium is there; what it replaced is kept until it is settled. */
int medium_commit(const struct medium_name* medium, const char* token, int must_be_new) {
  const struct manifest_path building = manifest_path_of(medium, PLACE_BUILDING, token);
  const struct manifest_path replaced = manifest_path_of(medium, PLACE_REPLACED, token);
  const struct manifest_path finished = manifest_path_of(medium, PLACE_MEDIUM, token);
  struct manifest manifest = {0};
  int status;
  if (faccessat(medium->folder, building.text, F_OK, 0) != 0) {
    status = manifest_read(medium, &finished, &manifest);
    if (status == 0 && strcmp(manifest.token, token) != 0) {
      status = ENOENT;
    }
    manifest_free(&manifest);
    return status;
  }
  if (must_be_new) {
    status = renameat2(medium->folder, building.text, medium->folder, finished.text,
                       RENAME_NOREPLACE) == 0
                 ? 0
                 : errno;
  } else {
    unlinkat(medium->folder, replaced.text, 0);
    status = linkat(medium->folder, finished.text, medium->folder, replaced.text, 0) == 0 ||
                     errno == ENOENT
                 ? 0
                 : errno;
    if (status == 0 &&
        renameat(medium->folder, building.text, medium->folder, finished.text) != 0) {
      status = errno;
    }
  }
  return status == 0 ? store_flush(medium) : status;
}

int medium_discard(const struct medium_name* medium, const char* token) {
  const struct manifest_path building = manifest_path_of(medium, PLACE_BUILDING, token);
  const struct manifest_path replaced = manifest_path_of(medium, PLACE_REPLACED, token);
  const struct manifest_path finished = manifest_path_of(medium, PLACE_MEDIUM, token);
  struct manifest manifest = {0};
  int status = 0;
  if (unlinkat(medium->folder, building.text, 0) == 0) {
    unlinkat(medium->folder, replaced.text, 0); /* a crash came between link and rename */
    return store_flush(medium);
  }
  if (manifest_read(medium, &finished, &manifest) == 0 && strcmp(manifest.token, token) == 0) {
    if (renameat(medium->folder, replaced.text, medium->folder, finished.text) != 0) {
      status = errno == ENOENT && unlinkat(medium->folder, finished.text, 0) == 0 ? 0 : errno;
    }
    status = status == 0 ? store_flush(medium) : status;
  }
  manifest_free(&manifest);
  return status;
}
