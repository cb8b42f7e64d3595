/* The contract between Capstan's agent and a media plugin: a shared library that keeps bytes on one
 * kind of medium. This is version 1 of the interface. It is frozen: what is compiled against this
 * header loads in every later version of Capstan.
 *
 * Loading
 *  1. A plugin is a shared object that exports one function, capstan_plugin_get(). Nothing else of it
 *     is looked up. It runs in an agent process of its own: a crash costs the jobs of that agent.
 *  2. Every struct that can grow starts with its size as its writer compiled it. A reader uses no
 *     field beyond that size; fields are only ever appended; numbers never change their meaning; bits
 *     and operations that a reader does not know are ignored, or refused with CAPSTAN_E_UNSUPPORTED.
 *     capstan_error never grows.
 *  3. Functions that are optional may be null, or lie beyond capstan_plugin.struct_size.
 *  4. configure() is called before anything else of the plugin, from one thread; see there.
 *
 * Calls
 *  5. Strings are UTF-8 and null-terminated. They belong to the caller and live until the call
 *     returns; those of capstan_plugin live as long as the library, and so does capstan_plugin.
 *  6. Functions return 0, or -1 with *error filled in. error is never null and comes zeroed.
 *  7. The agent calls submit and close of one device from one thread at a time; everything else from
 *     any thread, also at the same time and while devices are open.
 *  8. A plugin never prints, never ends the process, never lets an exception out, starts no process,
 *     and leaves signals, the working directory, the umask, locale and environment alone. SIGPIPE and
 *     SIGXFSZ are ignored by the agent. Threads of a plugin block all signals.
 *  9. When the last device is closed, nothing of it is left: no thread of that device, no descriptor,
 *     no memory that grows with the number of devices that there have been.
 *
 * Requests
 * 10. Sizes and positions are bytes unless said otherwise, and 64 bits where a medium is meant. Buffers
 *     lie in memory shared with the engine, are aligned to capstan_plugin.alignment, and belong to the
 *     plugin from submit until it completes the request. A plugin never writes to the buffer of a
 *     WRITE, and touches no buffer after the completion.
 * 11. submit does not wait for the medium. 0: the request is accepted and completed exactly once, from
 *     any thread of the plugin, also from inside submit. -1: it is not accepted and never completed.
 *     Until close returns, every accepted request has been completed.
 * 12. READ and WRITE transfer all of `size` or fail; what moved all the same is in bytes_transferred.
 *     A READ that meets the end of the medium ends with CAPSTAN_E_END and the bytes in front of it.
 * 13. Several READs or WRITEs may be in flight, up to queue_depth_max, and may be completed in any
 *     order. On a device with random access (VDF_RandomAccess) each says where it goes; WRITEs that
 *     follow each other usually continue one another, and no hole is left when FLUSH comes. Such a
 *     device answers SET_POSITION with whence 2, too: where the medium ends. Without random access they
 *     take effect in the order of submit, and `position` is to be ignored. All other operations are
 *     sent alone.
 * 14. A completed WRITE means that the buffer may be used again and the bytes will be read back by this
 *     device. It does not mean durable.
 * 15. FLUSH means durable: every WRITE that was completed before it survives the end of this process,
 *     the machine's and the power's as soon as FLUSH is completed with 0, provided that COMPLETE or
 *     recover(COMMIT) follows. Only what was flushed may be completed.
 * 16. COMPLETE means visible: the medium is there under its name, whole and durable, for everybody.
 *     Before it nobody but this device sees anything of what was written. It is the last request.
 * 17. A failing completion fills in request->error. Failures that may pass by themselves (a broken
 *     connection, a busy drive) carry CAPSTAN_ERROR_TRANSIENT: the agent may send the request again.
 *
 * Ending
 * 18. close(DONE) comes after COMPLETE or after reading. close(DISCARD) removes what was begun and
 *     keeps what was there before. close(KEEP) leaves all as it is, for recover().
 * 19. close(DISCARD) and close(KEEP) do not wait for the medium to become well: requests in flight are
 *     given up and completed, with CAPSTAN_E_ABORTED if nothing better is known, within five seconds.
 * 20. What a token began can be finished or undone by recover() with that token, in another process,
 *     after a crash at any moment, and as often as somebody likes.
 * 21. One writer at a time: whoever opens a medium that is being written, to write it, gets EBUSY.
 *
 * Media that are one after the other (VDF_FileMarks, VDF_Removable): tapes
 * 22. Between two filemarks there is a stream of bytes: how many blocks a WRITE becomes is the
 *     plugin's matter, and a READ may begin and end within one. Positions are the medium's own block
 *     addresses, which count blocks and filemarks one each; GET_POSITION is asked for, and
 *     SET_POSITION goes to, where a WRITE or a filemark began. Whatever is written ends the medium
 *     behind it.
 * 23. A WRITE that is stored and finds less room left than is good ends with CAPSTAN_E_END_OF_MEDIUM;
 *     so may WRITE_MARK. From then on everything fits that the engine needs to end the medium. What
 *     does not fit at all ends with CAPSTAN_E_NO_ROOM, and is not stored in part.
 * 24. LOAD brings the medium with the wanted sequence number (`size`, from 1) of the family that the
 *     device reads or writes, at its beginning. It may take any time; rule 19 ends it.
 * 25. Without CAPSTAN_CAN_UNDO, REPLACE overwrites in place: the old contents end with the first WRITE,
 *     and rule 16 is kept by the format. Such a plugin says what it can, and nothing more.
 *
 * Source: the operations and codes are those of Microsoft's Virtual Device Interface specification.
 */
#ifndef CAPSTAN_PLUGIN_H_
#define CAPSTAN_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAPSTAN_PLUGIN_ABI_VERSION 1u

/* Bits of capstan_plugin.capabilities. */
#define CAPSTAN_CAN_READ 0x1u
#define CAPSTAN_CAN_WRITE 0x2u
#define CAPSTAN_CAN_RECOVER 0x4u /* recover(): a medium under construction outlives a crash */
#define CAPSTAN_CAN_REMOVE 0x8u
#define CAPSTAN_CAN_APPEND 0x10u
#define CAPSTAN_CAN_RETAIN 0x20u /* retain_until_unix_s is kept by the medium itself */
#define CAPSTAN_CAN_UNDO 0x40u   /* REPLACE and APPEND leave the old medium as it is until COMPLETE */
#define CAPSTAN_CAN_RESUME 0x80u /* CAPSTAN_OPEN_RESUME; only with READ, WRITE and RECOVER */

/* Bits of capstan_plugin.device_features: VDF_* of VDI, as far as a plugin may set them. */
#define CAPSTAN_FEATURE_REMOVABLE 0x1u       /* LOAD; the ends of rule 23 */
#define CAPSTAN_FEATURE_REWIND 0x2u          /* REWIND */
#define CAPSTAN_FEATURE_POSITION 0x10u       /* GET_POSITION, SET_POSITION */
#define CAPSTAN_FEATURE_SKIP_BLOCKS 0x20u    /* SKIP_BLOCKS */
#define CAPSTAN_FEATURE_REVERSE 0x40u        /* ... backwards, too */
#define CAPSTAN_FEATURE_FILE_MARKS 0x100u    /* WRITE_MARK, SKIP_MARKS */
#define CAPSTAN_FEATURE_RANDOM_ACCESS 0x200u /* READ and WRITE go where `position` says */

/* Operations; the numbers are those of VDI's commands. */
#define CAPSTAN_OP_READ 1
#define CAPSTAN_OP_WRITE 2
#define CAPSTAN_OP_CLEAR_ERROR 3 /* sent after a failure, before anything else */
#define CAPSTAN_OP_REWIND 4
#define CAPSTAN_OP_WRITE_MARK 5   /* one filemark, with what was written before it on the medium */
#define CAPSTAN_OP_SKIP_MARKS 6   /* size: how many filemarks forward; ends behind the last */
#define CAPSTAN_OP_SKIP_BLOCKS 7  /* size: how many blocks forward */
#define CAPSTAN_OP_LOAD 8         /* size: wanted sequence number, from 1 */
#define CAPSTAN_OP_GET_POSITION 9 /* out_position */
#define CAPSTAN_OP_SET_POSITION 10 /* size: from 0 the beginning, 1 here, 2 the end; out_position */
#define CAPSTAN_OP_FLUSH 12
#define CAPSTAN_OP_COMPLETE 19

/* Completion codes; the numbers are those of Win32 as VDI lists them. Any other is an error. */
#define CAPSTAN_E_OK 0u
#define CAPSTAN_E_ACCESS_DENIED 5u
#define CAPSTAN_E_WRITE_PROTECT 19u
#define CAPSTAN_E_NOT_READY 21u
#define CAPSTAN_E_DATA_CRC 23u /* the medium gives other bytes than were written */
#define CAPSTAN_E_WRITE_FAULT 29u
#define CAPSTAN_E_READ_FAULT 30u
#define CAPSTAN_E_END 38u /* READ: nothing behind these bytes */
#define CAPSTAN_E_UNSUPPORTED 50u
#define CAPSTAN_E_NO_SPACE 112u
#define CAPSTAN_E_FILE_TOO_LARGE 223u
#define CAPSTAN_E_ABORTED 995u
#define CAPSTAN_E_END_OF_MEDIUM 1100u /* stored; the medium is nearly full */
#define CAPSTAN_E_FILE_MARK 1101u     /* READ met a filemark, and stands behind it */
#define CAPSTAN_E_NO_DATA 1104u       /* READ, SKIP_*: end of data */
#define CAPSTAN_E_NO_MEDIUM 1112u
#define CAPSTAN_E_IO 1117u
#define CAPSTAN_E_NO_ROOM 1129u /* WRITE, WRITE_MARK: not stored; the medium is full */

typedef struct capstan_device capstan_device; /* the plugin's own */

#define CAPSTAN_ERROR_TRANSIENT 0x1u /* the same call may succeed later */

typedef struct capstan_error {
  int32_t os_error;  /* errno, or 0 */
  uint32_t flags;    /* CAPSTAN_ERROR_* */
  char message[500]; /* what happened, to what; the text of os_error is added by the agent */
  char hint[500];    /* what the operator can do about it; empty if that is plain */
} capstan_error;

/* One operation. The agent owns the struct; it stays where it is until completion. */
typedef struct capstan_request {
  uint32_t struct_size;
  int32_t op;        /* CAPSTAN_OP_* */
  void *buffer;      /* READ, WRITE */
  uint32_t size;     /* READ, WRITE: bytes; others as said beside the operation */
  uint32_t reserved; /* 0 */
  int64_t position;  /* READ, WRITE: byte offset in the medium; SET_POSITION: counted from `size` */

  /* Set by the plugin before it calls complete. */
  uint32_t completion_code;   /* CAPSTAN_E_* */
  uint32_t bytes_transferred; /* READ, WRITE */
  int64_t out_position;       /* GET_POSITION, SET_POSITION: where the medium is */
  capstan_error error;        /* filled in whenever completion_code is an error */

  /* Set by the agent; the plugin calls it exactly once for each accepted request. */
  void (*complete)(struct capstan_request *request);
  void *context;
} capstan_request;

enum capstan_open_mode {
  CAPSTAN_OPEN_READ = 1,    /* an existing medium, otherwise ENOENT */
  CAPSTAN_OPEN_REPLACE = 2, /* a new medium; one of that name stays until COMPLETE replaces it */
  CAPSTAN_OPEN_CREATE = 3,  /* a new medium; fails with EEXIST if the name is taken */
  /* An existing medium (otherwise ENOENT), to be read and to get more behind its end; needs
   * CAPSTAN_CAN_APPEND. Its bytes up to stat's size never change. What is written behind them counts
   * from COMPLETE on: until then, and after a discard, who opens or stats the medium sees the old
   * size. */
  CAPSTAN_OPEN_APPEND = 4
};

/* Bit of capstan_open_params.flags, with REPLACE and CREATE, of plugins with CAPSTAN_CAN_RESUME:
 * goes on with what `token` began for `target` before close(KEEP) or a crash. ENOENT if there is
 * nothing of that, also if it was completed, or discarded, or was an APPEND; EEXIST and EBUSY as
 * ever. An open that fails leaves it as it was.
 * READ gives what was written, as far as it was flushed; after close(KEEP) all that was completed.
 * WRITE may go anywhere, also over what is there. The medium will end where the highest WRITE of
 * this opening ends: what lies behind it may be torn, can be read until COMPLETE, and goes with it;
 * recover(COMMIT) ends the medium where it was to end at the last FLUSH. size_estimate is of all of
 * the medium. In all else it is a construction like any other. */
#define CAPSTAN_OPEN_RESUME 0x1u

typedef struct capstan_open_params {
  uint32_t struct_size;
  uint32_t mode;              /* enum capstan_open_mode */
  const char *target;         /* what the statement named: a path, a URL, a drive */
  const char *token;          /* names this construction for recover(); letters, digits and '-' */
  uint32_t block_size;        /* bytes; every transfer is a multiple of this */
  uint32_t max_transfer_size; /* bytes of one transfer at most */
  uint64_t size_estimate;     /* bytes that will probably be written, 0 if unknown */
  uint32_t queue_depth_max;   /* requests that may be in flight at once */
  uint32_t reserved;          /* 0 */
  /* Nobody shall be able to remove or change what is written before this time; 0: nothing is wished.
   * A plugin with CAPSTAN_CAN_RETAIN sees to it as it is configured to, or refuses to open. */
  int64_t retain_until_unix_s;
  /* Later than the first version: not there for a plugin that was compiled against that. */
  uint32_t flags;     /* CAPSTAN_OPEN_RESUME, or 0 */
  uint32_t reserved2; /* 0 */
} capstan_open_params;

enum capstan_outcome {
  CAPSTAN_OUTCOME_DONE = 0,
  CAPSTAN_OUTCOME_DISCARD = 1, /* the job failed */
  CAPSTAN_OUTCOME_KEEP = 2     /* the engine vanished */
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

/* How an open device is doing. */
typedef struct capstan_device_status {
  uint32_t struct_size;
  uint32_t stops;          /* times that a moving medium had to stop and go back for want of data */
  uint64_t medium_time_us; /* how long the medium itself was busy; 0 if the plugin does not know */
  char mode[64];           /* how bytes move, for example "io_uring direct" */
  char medium[64];         /* which medium is in a drive, for example a barcode; or empty */
  char waits_for[128];     /* what keeps the device waiting, for a person to read; or empty */
} capstan_device_status;

typedef struct capstan_plugin {
  uint32_t struct_size;
  uint32_t abi_version;        /* CAPSTAN_PLUGIN_ABI_VERSION */
  const char *name;            /* "disk" */
  const char *version;         /* "0.1.0" */
  const char *vendor;
  const char *device_class;    /* the keyword of statements: "DISK", "URL", "TAPE" */
  const char *schemes;         /* URL schemes, comma-separated; "" for a path */
  uint32_t capabilities;       /* CAPSTAN_CAN_* */
  uint32_t device_features;    /* CAPSTAN_FEATURE_* */
  uint32_t alignment;          /* of buffers and positions, bytes, power of two */

  int (*open)(const capstan_open_params *params, capstan_device **device, capstan_error *error);
  int (*submit)(capstan_device *device, capstan_request *request, capstan_error *error);
  /* The device is gone also when -1 is returned. outcome: enum capstan_outcome. */
  int (*close)(capstan_device *device, uint32_t outcome, capstan_error *error);

  /* A medium that is not there is no error: exists is 0. */
  int (*stat)(const char *target, capstan_stat_result *result, capstan_error *error);
  /* With CAPSTAN_CAN_REMOVE. A medium that is not there is ENOENT. */
  int (*remove)(const char *target, capstan_error *error);
  /* With CAPSTAN_CAN_RECOVER. action: enum capstan_recover_action. */
  int (*recover)(const char *target, const char *token, uint32_t action, capstan_error *error);

  /* Optional. An option of the agent's configuration, once for each; a key or value that the plugin
   * does not understand is an error that names those that it does, and ends the agent. */
  int (*configure)(const char *key, const char *value, capstan_error *error);

  /* Optional. Any thread, between open and close; never waits for the medium. */
  int (*device_status)(capstan_device *device, capstan_device_status *status,
                       capstan_error *error);
} capstan_plugin;

/* Returns the plugin, or null if it cannot work with `agent_abi_version`. */
const capstan_plugin *capstan_plugin_get(uint32_t agent_abi_version);
typedef const capstan_plugin *(*capstan_plugin_get_fn)(uint32_t);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CAPSTAN_PLUGIN_H_ */
