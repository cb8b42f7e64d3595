#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store.h"

struct capstan_device {
  struct medium_name medium;
  uint32_t mode;
  int medium_lock; /* of a writer */
  int store_lock;
  int completed;

  /* The thread's, once it runs. */
  struct manifest manifest;
  uint64_t kept_size; /* APPEND: bytes that never change */
  uint64_t held;      /* index of the chunk in `chunk`; UINT64_MAX: none */
  int held_dirty;
  unsigned char* chunk;
  int64_t cursor; /* where SET_POSITION went; transfers say by themselves where they go */

  pthread_t thread;
  pthread_mutex_t mutex; /* for what is below */
  pthread_cond_t changed;
  capstan_request** queue; /* a ring */
  uint32_t queue_size;
  uint32_t first;
  uint32_t count;
  int giving_up; /* what is queued is completed as aborted */
  int stopping;
};

int fail(capstan_error* error, int os_error, const char* doing, const char* what) {
  error->os_error = os_error;
  snprintf(error->message, sizeof(error->message), "unable to %s '%.350s'", doing, what);
  return -1;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* --- moving bytes ----------------------------------------------------------------------------- */

static int put_held(capstan_device* device) {
  int status;
  if (!device->held_dirty) {
    return 0;
  }
  status = chunk_put(&device->medium, device->chunk, device->manifest.digests[device->held]);
  device->held_dirty = status != 0;
  return status;
}

/* Brings a chunk in; `whole` says that all of it is about to be overwritten. */
static int hold(capstan_device* device, uint64_t index, int whole) {
  int status;
  if (device->held == index) {
    return 0;
  }
  status = put_held(device);
  if (status != 0) {
    return status;
  }
  device->held = UINT64_MAX;
  if (!whole) {
    status = chunk_get(&device->medium, device->manifest.digests[index], device->chunk);
  }
  if (status == 0) {
    device->held = index;
  }
  return status;
}

static int move_bytes(capstan_device* device, capstan_request* request, uint64_t size) {
  const int writes = request->op == CAPSTAN_OP_WRITE;
  uint64_t position = (uint64_t)request->position;
  unsigned char* bytes = request->buffer;
  while (size > 0) {
    const uint64_t offset = position % CHUNK_SIZE;
    const uint64_t part = smaller(size, CHUNK_SIZE - offset);
    const int status = hold(device, position / CHUNK_SIZE, writes && part == CHUNK_SIZE);
    if (status != 0) {
      return status;
    }
    if (writes) {
      memcpy(device->chunk + offset, bytes, (size_t)part);
      device->held_dirty = 1;
    } else {
      memcpy(bytes, device->chunk + offset, (size_t)part);
    }
    request->bytes_transferred += (uint32_t)part;
    position += part;
    bytes += part;
    size -= part;
  }
  return 0;
}

static int transfer(capstan_device* device, capstan_request* request) {
  const uint64_t position = (uint64_t)request->position;
  const uint64_t end = position + request->size;
  int status = 0;
  if (request->op == CAPSTAN_OP_READ) {
    const uint64_t size = device->manifest.size;
    const uint64_t there = position < size ? size - position : 0;
    status = move_bytes(device, request, smaller(there, request->size));
    if (status == 0 && there < request->size) {
      request->completion_code = CAPSTAN_E_END;
      fail(&request->error, 0, "read beyond the end of", device->medium.name);
    }
    return status;
  }
  status = manifest_reserve(&device->manifest, (end + CHUNK_SIZE - 1) / CHUNK_SIZE);
  if (status == 0) {
    status = move_bytes(device, request, request->size);
  }
  if (status == 0 && end > device->manifest.size) {
    device->manifest.size = end;
  }
  return status;
}

static int flush(capstan_device* device) {
  const struct manifest_path path =
      manifest_path_of(&device->medium, PLACE_BUILDING, device->manifest.token);
  int status;
  if (device->mode == CAPSTAN_OPEN_READ || device->completed) {
    return 0;
  }
  status = put_held(device);
  if (status == 0) {
    status = manifest_write(&device->medium, &path, &device->manifest);
  }
  return status == 0 ? store_flush(&device->medium) : status;
}

static int complete(capstan_device* device) {
  int status;
  if (device->mode == CAPSTAN_OPEN_READ || device->completed) {
    return 0;
  }
  status = flush(device);
  if (status == 0) {
    status =
        medium_commit(&device->medium, device->manifest.token, device->mode == CAPSTAN_OPEN_CREATE);
  }
  device->completed = status == 0;
  return status;
}

/* From the beginning, from here, or from the end. */
static int set_position(capstan_device* device, capstan_request* request) {
  const int64_t bases[] = {0, device->cursor, (int64_t)device->manifest.size};
  if (request->size > 2 || bases[request->size] + request->position < 0) {
    return EINVAL;
  }
  device->cursor = bases[request->size] + request->position;
  request->out_position = device->cursor;
  return 0;
}

static uint32_t code_of(int status, int op) {
  switch (status) {
    case ENOSPC:
    case EDQUOT:
      return CAPSTAN_E_NO_SPACE;
    case EFBIG:
      return CAPSTAN_E_FILE_TOO_LARGE;
    case EBADMSG:
      return CAPSTAN_E_DATA_CRC;
    case EACCES:
    case EPERM:
      return CAPSTAN_E_ACCESS_DENIED;
    default:
      return op == CAPSTAN_OP_READ ? CAPSTAN_E_READ_FAULT : CAPSTAN_E_WRITE_FAULT;
  }
}

static void carry_out(capstan_device* device, capstan_request* request) {
  int status = 0;
  request->completion_code = CAPSTAN_E_OK;
  request->bytes_transferred = 0;
  switch (request->op) {
    case CAPSTAN_OP_READ:
    case CAPSTAN_OP_WRITE:
      status = transfer(device, request);
      break;
    case CAPSTAN_OP_CLEAR_ERROR:
      break;
    case CAPSTAN_OP_GET_POSITION:
      request->out_position = device->cursor;
      break;
    case CAPSTAN_OP_SET_POSITION:
      status = set_position(device, request);
      break;
    case CAPSTAN_OP_FLUSH:
      status = flush(device);
      break;
    case CAPSTAN_OP_COMPLETE:
      status = complete(device);
      break;
    default: /* operations of media that this is not, and of versions that are not written yet */
      request->completion_code = CAPSTAN_E_UNSUPPORTED;
      fail(&request->error, ENOTSUP, "carry such an operation out on", device->medium.name);
  }
  if (status != 0) {
    request->completion_code = code_of(status, request->op);
    fail(&request->error, status, request->op == CAPSTAN_OP_READ ? "read" : "write",
         device->medium.name);
  }
}

/* --- the thread ------------------------------------------------------------------------------- */

static void* work(void* argument) {
  capstan_device* const device = argument;
  pthread_mutex_lock(&device->mutex);
  for (;;) {
    capstan_request* request;
    int aborted;
    while (device->count == 0 && !device->stopping) {
      pthread_cond_wait(&device->changed, &device->mutex);
    }
    if (device->count == 0) {
      break;
    }
    request = device->queue[device->first];
    device->first = (device->first + 1) % device->queue_size;
    device->count -= 1;
    aborted = device->giving_up;
    pthread_mutex_unlock(&device->mutex);
    if (aborted) {
      request->completion_code = CAPSTAN_E_ABORTED;
      fail(&request->error, 0, "finish what was under way on", device->medium.name);
    } else {
      carry_out(device, request);
    }
    request->complete(request); /* the last touch: the request may be gone now */
    pthread_mutex_lock(&device->mutex);
  }
  pthread_mutex_unlock(&device->mutex);
  return NULL;
}

/* The thread blocks all signals from its first moment on: it inherits the mask. */
static int start_thread(capstan_device* device) {
  sigset_t all;
  sigset_t before;
  int status;
  pthread_mutex_init(&device->mutex, NULL);
  pthread_cond_init(&device->changed, NULL);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  status = pthread_create(&device->thread, NULL, work, device);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

/* --- open, submit, close ---------------------------------------------------------------------- */

static void destroy(capstan_device* device) {
  if (device->medium_lock >= 0) {
    close(device->medium_lock);
  }
  if (device->store_lock >= 0) {
    close(device->store_lock);
  }
  medium_forget(&device->medium);
  manifest_free(&device->manifest);
  free(device->chunk);
  free(device->queue);
  free(device);
}

static int begin_writing(capstan_device* device, const struct manifest_path* finished) {
  int status = medium_lock(&device->medium, &device->medium_lock);
  if (status == 0) {
    status = medium_unsettled(&device->medium, device->manifest.token);
  }
  if (status == 0 && device->mode == CAPSTAN_OPEN_CREATE &&
      faccessat(device->medium.folder, finished->text, F_OK, 0) == 0) {
    status = EEXIST;
  }
  if (status == 0 && device->mode == CAPSTAN_OPEN_APPEND) {
    char token[TOKEN_SIZE_MAX + 1];
    strcpy(token, device->manifest.token);
    status = manifest_read(&device->medium, finished, &device->manifest);
    strcpy(device->manifest.token, token);
    device->kept_size = device->manifest.size;
  }
  return status;
}

static int begin(capstan_device* device, const capstan_open_params* params) {
  const int writes = params->mode != CAPSTAN_OPEN_READ;
  struct manifest_path finished;
  int status = medium_find(&device->medium, params->target, writes);
  if (status != 0) {
    return status;
  }
  if (params->retain_until_unix_s != 0 || params->mode < CAPSTAN_OPEN_READ ||
      params->mode > CAPSTAN_OPEN_APPEND) {
    return ENOTSUP;
  }
  if (writes && (params->token[0] == '\0' || strlen(params->token) > TOKEN_SIZE_MAX)) {
    return EINVAL;
  }
  if (writes) {
    strcpy(device->manifest.token, params->token);
  }
  finished = manifest_path_of(&device->medium, PLACE_MEDIUM, "");
  status = writes ? begin_writing(device, &finished)
                  : manifest_read(&device->medium, &finished, &device->manifest);
  if (status == 0) {
    status = store_lock(&device->medium, F_RDLCK, &device->store_lock);
  }
  device->queue_size = params->queue_depth_max + 1;
  device->queue = calloc(device->queue_size, sizeof(*device->queue));
  device->chunk = malloc(CHUNK_SIZE);
  if (status == 0 && (device->queue == NULL || device->chunk == NULL)) {
    status = ENOMEM;
  }
  return status == 0 ? start_thread(device) : status;
}

int device_open(const capstan_open_params* params, capstan_device** result, capstan_error* error) {
  capstan_device* const device = calloc(1, sizeof(*device));
  int status = ENOMEM;
  if (device != NULL) {
    device->mode = params->mode;
    device->medium_lock = device->store_lock = -1;
    device->held = UINT64_MAX;
    status = begin(device, params);
  }
  if (status != 0) {
    if (device != NULL) {
      destroy(device);
    }
    return fail(error, status, params->mode == CAPSTAN_OPEN_READ ? "read" : "write",
                params->target);
  }
  *result = device;
  return 0;
}

int device_submit(capstan_device* device, capstan_request* request, capstan_error* error) {
  const int moves = request->op == CAPSTAN_OP_READ || request->op == CAPSTAN_OP_WRITE;
  int full;
  if (request->op == CAPSTAN_OP_WRITE && device->mode == CAPSTAN_OPEN_READ) {
    return fail(error, EBADF, "write, as it is open for reading,", device->medium.name);
  }
  if (moves && (request->buffer == NULL || request->size == 0 || request->position < 0)) {
    return fail(error, EINVAL, "transfer out of the range of", device->medium.name);
  }
  if (request->op == CAPSTAN_OP_WRITE && (uint64_t)request->position < device->kept_size) {
    return fail(error, EINVAL, "change what was there before in", device->medium.name);
  }
  pthread_mutex_lock(&device->mutex);
  full = device->count == device->queue_size;
  if (!full) {
    device->queue[(device->first + device->count) % device->queue_size] = request;
    device->count += 1;
    pthread_cond_signal(&device->changed);
  }
  pthread_mutex_unlock(&device->mutex);
  return full ? fail(error, EAGAIN, "queue more than was agreed for", device->medium.name) : 0;
}

/* A construction that was never flushed has no manifest, and nothing is left of it but chunks. */
static int end_writing(capstan_device* device, uint32_t outcome) {
  const struct manifest_path replaced =
      manifest_path_of(&device->medium, PLACE_REPLACED, device->manifest.token);
  if (outcome == CAPSTAN_OUTCOME_DONE && device->completed) {
    const int status =
        unlinkat(device->medium.folder, replaced.text, 0) == 0 || errno == ENOENT ? 0 : errno;
    return status;
  }
  if (outcome == CAPSTAN_OUTCOME_KEEP) {
    return 0;
  }
  if (outcome == CAPSTAN_OUTCOME_DISCARD) {
    return medium_discard(&device->medium, device->manifest.token);
  }
  medium_discard(&device->medium, device->manifest.token);
  return EINVAL; /* DONE without COMPLETE */
}

int device_close(capstan_device* device, uint32_t outcome, capstan_error* error) {
  int status = 0;
  int result = 0;
  pthread_mutex_lock(&device->mutex);
  device->giving_up = outcome != CAPSTAN_OUTCOME_DONE;
  device->stopping = 1;
  pthread_cond_signal(&device->changed);
  pthread_mutex_unlock(&device->mutex);
  pthread_join(device->thread, NULL);
  pthread_cond_destroy(&device->changed);
  pthread_mutex_destroy(&device->mutex);
  if (device->mode != CAPSTAN_OPEN_READ) {
    status = end_writing(device, outcome);
    close(device->store_lock); /* or nobody could remove chunks, we included */
    device->store_lock = -1;
    if (outcome != CAPSTAN_OUTCOME_KEEP) {
      store_collect(&device->medium);
    }
  }
  if (status != 0) {
    result = fail(error, status, "end", device->medium.name);
  }
  destroy(device);
  return result;
}
