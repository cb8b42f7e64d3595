/* A store: a folder of chunks that are named by what is in them, and of manifests that say which
 * chunks a medium is made of. A chunk that two media share is there once.
 *
 *   DIR/media/NAME             the manifest of a finished medium
 *   DIR/building/NAME@TOKEN    of one that is being written
 *   DIR/building/NAME@TOKEN~   of the one that it has replaced, until the device is closed
 *   DIR/chunks/ab/ab12...      64 KiB each, the last of a medium filled up with zeros
 *   DIR/lock                   locked at a place of its own by whoever writes a medium; and as a
 *                              whole store shared by devices, exclusive by who removes chunks
 *
 * All functions return 0, or an errno. Threads: any, but one at a time for one struct.
 */
#ifndef CAPSTAN_EXAMPLE_STORE_H_
#define CAPSTAN_EXAMPLE_STORE_H_

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

#include "sha256.h"

#define CHUNK_SIZE 65536u
#define NAME_SIZE_MAX 200
#define TOKEN_SIZE_MAX 64

struct medium_name {
  int folder; /* of the store, open; -1: none */
  char name[NAME_SIZE_MAX + 1];
};

/* The table of a medium. A chunk whose digest is all zeros was never written, and reads as zeros.
 */
struct manifest {
  uint64_t size;
  char token[TOKEN_SIZE_MAX + 1];
  unsigned char (*digests)[SHA256_SIZE];
  uint64_t count;
  uint64_t capacity;
};

/* "cas:///srv/store/NAME". With `create` the folders of the store are made; DIR itself must exist.
 * EINVAL: no such name is possible. */
int medium_find(struct medium_name* medium, const char* url, int create);
void medium_forget(struct medium_name* medium);

/* Makes the table at least that long. */
int manifest_reserve(struct manifest* manifest, uint64_t count);
void manifest_free(struct manifest* manifest);

/* Where a manifest lies, seen from the store's folder. */
enum manifest_place { PLACE_MEDIUM, PLACE_BUILDING, PLACE_REPLACED };
struct manifest_path {
  char text[NAME_SIZE_MAX + TOKEN_SIZE_MAX + 16];
};
struct manifest_path manifest_path_of(const struct medium_name* medium, enum manifest_place place,
                                      const char* token);
int manifest_read(const struct medium_name* medium, const struct manifest_path* path,
                  struct manifest* manifest);
int manifest_write(const struct medium_name* medium, const struct manifest_path* path,
                   const struct manifest* manifest);

int chunk_put(const struct medium_name* medium, const unsigned char* bytes,
              unsigned char digest[SHA256_SIZE]);
/* EBADMSG: the chunk is there, and holds something else than it should. */
int chunk_get(const struct medium_name* medium, const unsigned char digest[SHA256_SIZE],
              unsigned char* bytes);

/* Everything that was written, names included, is on the disk. */
int store_flush(const struct medium_name* medium);

/* A folder of the store, to be read; null, and errno, if that fails. */
DIR* store_folder(const struct medium_name* medium, const char* path);

/* Locks the store: F_RDLCK against the removal of chunks, F_WRLCK to remove some. The lock ends
 * when *fd is closed, and with the process. EBUSY if it cannot be had at once. */
int store_lock(const struct medium_name* medium, short kind, int* fd);
/* As store_lock, for who writes this medium. */
int medium_lock(const struct medium_name* medium, int* fd);
/* EBUSY if there is a construction of the medium by another token. */
int medium_unsettled(const struct medium_name* medium, const char* token);

/* Finishes or undoes what the token began. ENOENT: there is nothing to finish. */
int medium_commit(const struct medium_name* medium, const char* token, int must_be_new);
int medium_discard(const struct medium_name* medium, const char* token);

/* Removes the chunks that no manifest names, unless a device is open just now. */
void store_collect(const struct medium_name* medium);

#endif /* CAPSTAN_EXAMPLE_STORE_H_ */
