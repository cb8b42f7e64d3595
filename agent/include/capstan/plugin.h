/* The contract between Capstan's agent and a media plugin: a shared library that keeps bytes on one
 * kind of medium.
 *
 * Conventions
 *  1. A plugin is a shared object that exports one function, capstan_plugin_get(). Nothing else of it
 *     is looked up. It runs in an agent process of its own: a crash costs the jobs of that agent.
 *  2. Every struct starts with its size as the caller compiled it. A reader uses no field beyond that
 *     size; fields are only ever appended. Numbers never change their meaning.
 *  3. Strings are UTF-8 and null-terminated; they belong to the caller and live until the call returns,
 *     those of capstan_plugin live as long as the library.
 *  4. Functions return 0, or -1 with *error filled in. A null error pointer is not allowed.
 *  5. Sizes and positions are bytes. Buffers lie in memory shared with the engine, are aligned to
 *     capstan_plugin.alignment, and belong to the plugin from submit until it completes the request.
 *  6. The agent calls submit and close of one device from one thread at a time; everything else from
 *     any thread, also at the same time and while devices are open. A completion may be called from
 *     any thread of the plugin, also from inside submit.
 *  7. A plugin never prints, never ends the process, and never lets an exception out.
 *  8. The agent ignores SIGPIPE and SIGXFSZ; a plugin leaves signals alone.
 */
#ifndef CAPSTAN_PLUGIN_H_
#define CAPSTAN_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAPSTAN_PLUGIN_ABI_VERSION 1u

/* Bits of capstan_plugin.capabilities. Without its bit, remove or recover may be null. */
#define CAPSTAN_CAN_READ 0x1u
#define CAPSTAN_CAN_WRITE 0x2u
#define CAPSTAN_CAN_RECOVER 0x4u /* recover(): a medium under construction outlives a crash */
#define CAPSTAN_CAN_REMOVE 0x8u
#define CAPSTAN_CAN_APPEND 0x10u

/* Operations; the numbers are those of VDI's commands. */
#define CAPSTAN_OP_READ 1
#define CAPSTAN_OP_WRITE 2
#define CAPSTAN_OP_CLEAR_ERROR 3
#define CAPSTAN_OP_REWIND 4
#define CAPSTAN_OP_WRITE_MARK 5
#define CAPSTAN_OP_SKIP_MARKS 6
#define CAPSTAN_OP_SKIP_BLOCKS 7
#define CAPSTAN_OP_LOAD 8
#define CAPSTAN_OP_GET_POSITION 9
#define CAPSTAN_OP_SET_POSITION 10
#define CAPSTAN_OP_FLUSH 12    /* every earlier write is durable when this completes */
#define CAPSTAN_OP_COMPLETE 19 /* the medium is complete: make it visible under its name, durably */

typedef struct capstan_device capstan_device; /* the plugin's own */

typedef struct capstan_error {
  int32_t os_error;  /* errno, or 0 */
  char message[500]; /* what happened, to what; the text of os_error is added by the agent */
} capstan_error;

/* One operation. The agent owns the struct; it stays where it is until completion. */
typedef struct capstan_request {
  uint32_t struct_size;
  int32_t op;        /* CAPSTAN_OP_* */
  void *buffer;      /* READ, WRITE */
  uint32_t size;     /* READ, WRITE: bytes; SET_POSITION: whence 0 begin, 1 current, 2 end */
  uint32_t reserved; /* 0 */
  int64_t position;  /* READ, WRITE: byte offset in the medium; SET_POSITION: by whence */

  /* Set by the plugin before it calls complete. */
  uint32_t completion_code;   /* 0, or a Win32 number as VDI lists them: 38 end, 112 disk full, ... */
  uint32_t bytes_transferred; /* READ, WRITE */
  int64_t out_position;       /* GET_POSITION, SET_POSITION */
  capstan_error error;        /* filled in whenever completion_code is not 0 */

  /* Set by the agent; the plugin calls it exactly once for each accepted request. */
  void (*complete)(struct capstan_request *request);
  void *context;
} capstan_request;

enum capstan_open_mode {
  CAPSTAN_OPEN_READ = 1,    /* an existing medium */
  CAPSTAN_OPEN_REPLACE = 2, /* a new medium; one of that name stays until COMPLETE replaces it */
  CAPSTAN_OPEN_CREATE = 3,  /* a new medium; fails with EEXIST if the name is taken */
  /* An existing medium (otherwise ENOENT), to be read and to get more behind its end; needs
   * CAPSTAN_CAN_APPEND. Its bytes up to stat's size never change. What is written behind them counts
   * from COMPLETE on: until then, and after a discard, who opens or stats the medium sees the old
   * size. A second writer gets EBUSY. */
  CAPSTAN_OPEN_APPEND = 4
};

typedef struct capstan_open_params {
  uint32_t struct_size;
  uint32_t mode;              /* enum capstan_open_mode */
  const char *target;         /* what the statement named: a path, a URL, a drive */
  const char *token;          /* names this construction for recover(); letters, digits and '-' */
  uint32_t block_size;        /* bytes; every transfer is a multiple of this */
  uint32_t max_transfer_size; /* bytes of one transfer at most */
  uint64_t size_estimate;     /* bytes that will probably be written, 0 if unknown */
  uint32_t queue_depth_max;   /* requests that may be in flight at once */
} capstan_open_params;

enum capstan_outcome {
  CAPSTAN_OUTCOME_DONE = 0,     /* after COMPLETE, or after reading */
  CAPSTAN_OUTCOME_DISCARD = 1,  /* the job failed: remove what was begun, keep what was there before */
  CAPSTAN_OUTCOME_KEEP = 2      /* the engine vanished: leave everything for recover() */
};

enum capstan_recover_action {
  CAPSTAN_RECOVER_COMMIT = 1, /* finish COMPLETE; fine if it was finished before */
  CAPSTAN_RECOVER_DISCARD = 2 /* remove what the token began; fine if there is nothing */
};

typedef struct capstan_stat_result {
  uint32_t struct_size;
  uint32_t exists;         /* 0 or 1 */
  uint64_t size;           /* bytes */
  uint64_t free_space;     /* bytes left where the medium is or would be; UINT64_MAX if unknown */
  int64_t modified_unix_s; /* seconds since 1970 */
} capstan_stat_result;

typedef struct capstan_plugin {
  uint32_t struct_size;
  uint32_t abi_version;        /* CAPSTAN_PLUGIN_ABI_VERSION */
  const char *name;            /* "disk" */
  const char *version;         /* "0.1.0" */
  const char *vendor;
  const char *device_class;    /* the keyword of statements: "DISK", "URL", "TAPE" */
  const char *schemes;         /* URL schemes, comma-separated; "" for a path */
  uint32_t capabilities;       /* CAPSTAN_CAN_* */
  uint32_t device_features;    /* VDF_* of VDI, for example 0x200 = random access */
  uint32_t alignment;          /* of buffers and positions, bytes, power of two */

  int (*open)(const capstan_open_params *params, capstan_device **device, capstan_error *error);
  /* 0: accepted, complete() will be called. -1: refused, complete() will not be called. */
  int (*submit)(capstan_device *device, capstan_request *request, capstan_error *error);
  /* Waits for requests in flight, then ends the device. The device is gone also when -1 is returned. */
  int (*close)(capstan_device *device, uint32_t outcome, capstan_error *error);

  int (*stat)(const char *target, capstan_stat_result *result, capstan_error *error);
  int (*remove)(const char *target, capstan_error *error);
  int (*recover)(const char *target, const char *token, uint32_t action, capstan_error *error);

  /* Optional (may be null, or beyond struct_size): how the device moves bytes now, for example
   * "io_uring direct". Any thread, between open and close; the string lives as long as the library. */
  const char *(*device_mode)(capstan_device *device);
} capstan_plugin;

/* Returns the plugin, or null if it cannot work with `agent_abi_version`. */
const capstan_plugin *capstan_plugin_get(uint32_t agent_abi_version);
typedef const capstan_plugin *(*capstan_plugin_get_fn)(uint32_t);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CAPSTAN_PLUGIN_H_ */
