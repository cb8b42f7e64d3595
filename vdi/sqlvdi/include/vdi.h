// The Virtual Backup Device Interface for Linux: what a backup program compiles against.
//
// Names, numbers and layouts are those of the classic interface, so that a program written for it
// compiles unchanged (link with -lsqlvdi) and one that is already built runs with this library in
// its place. The program creates a *virtual device set*, has the server execute
//   BACKUP DATABASE d TO VIRTUAL_DEVICE='name'
// over a connection of its own, and then acts as the tape drive:
//
//   ClientVirtualDeviceSet set;               // one set per statement
//   VDConfig config = {};                     // zero-filled: it has more fields than you will set
//   config.deviceCount = 1;
//   set.Create(name, &config);                // first this,
//   ...                                       // then send the statement, in a thread or process
//   set.GetConfiguration(60000, &config);     // waits for the statement
//   ClientVirtualDevice* device = NULL;
//   set.OpenDevice(name, &device);            // the first device is called as the set
//   VDC_Command* command = NULL;
//   int status;
//   while ((status = device->GetCommand(600, &command)) == NOERROR) {
//     ...                                     // do it: store or fill command->buffer
//     device->CompleteCommand(command, code, bytes, position);
//   }
//   set.Close();                              // then read the statement's result
//
// The traps:
// 1. VD_E_CLOSE, the normal end of the loop, does not mean that the backup succeeded: the server
//    closes its devices after a failure, too. Message 3014 of the statement is success.
// 2. Complete a Flush only when every Write before it is durable: fsync, not fflush.
// 3. Answer each command; those you do not know with ERROR_NOT_SUPPORTED. ClearError comes to
//    everybody.
// 4. Reads of a RESTORE need not have the sizes of the Writes: serve a stream of bytes.
// 5. If the statement fails before it reaches the set, nobody tells the set: GetConfiguration then
//    times out. Poll it, and look at your SQL connection in between.
//
// Threads: a set may be used from any thread. A device belongs to one thread; only CompleteCommand
// may come from others. Neither class may be copied.
//
// Usable from C++11 on. Calls never throw.
#ifndef CAPSTAN_VDI_SQLVDI_INCLUDE_VDI_H_
#define CAPSTAN_VDI_SQLVDI_INCLUDE_VDI_H_

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "vdierror.h"

#pragma pack(push, 8)

extern "C" {

// Bits of VDConfig::features. A device is like a pipe (0), a tape or a disk; to pipe and disk
// VDF_Removable may be added, to all three VDF_Discard, VDF_SnapshotPrepare, VDF_RequestComplete.
enum VDFeatures {
  // The program asks for these in Create.
  VDF_LikePipe = 0x0,            // sequential only
  VDF_Removable = 0x1,           // the medium can change: VDC_Load, ERROR_END_OF_MEDIA
  VDF_Rewind = 0x2,              // VDC_Rewind
  VDF_Position = 0x10,           // VDC_GetPosition, VDC_SetPosition
  VDF_SkipBlocks = 0x20,         // VDC_SkipBlocks
  VDF_ReversePosition = 0x40,    // skips may go backwards
  VDF_Discard = 0x80,            // VDC_Discard
  VDF_FileMarks = 0x100,         // VDC_WriteMark, VDC_SkipMarks; Read stops at marks
  VDF_RandomAccess = 0x200,      // Read and Write carry a position in bytes
  VDF_SnapshotPrepare = 0x400,   // WITH SNAPSHOT sends VDC_PrepareToFreeze first
  VDF_EnumFrozenFiles = 0x800,   // snapshot writers of Windows
  VDF_VSSWriter = 0x1000,        // snapshot writers of Windows
  VDF_RequestComplete = 0x2000,  // asks for VDC_Complete at the end of a BACKUP

  // The server adds these; GetConfiguration returns them.
  VDF_WriteMedia = 0x10000,       // the statement writes: BACKUP
  VDF_ReadMedia = 0x20000,        // the statement reads: RESTORE
  VDF_CompleteEnabled = 0x40000,  // VDC_Complete will come; if not set, the last Flush is the end

  VDF_LatchStats = 0x80000000,

  VDF_LikeTape = VDF_FileMarks | VDF_Removable | VDF_Rewind | VDF_Position | VDF_SkipBlocks |
                 VDF_ReversePosition,
  VDF_LikeDisk = VDF_RandomAccess
};

// VDC_Command::commandCode.
enum VDCommands {
  VDC_Read = 1,        // fill buffer with size bytes; fewer only with ERROR_HANDLE_EOF and the like
  VDC_Write = 2,       // store size bytes of buffer; may be cached until Flush
  VDC_ClearError = 3,  // after a command failed: go on, if you can
  VDC_Rewind = 4,
  VDC_WriteMark = 5,
  VDC_SkipMarks = 6,   // size = how many filemarks; backwards if negative
  VDC_SkipBlocks = 7,  // size = how many blocks; backwards if negative
  VDC_Load = 8,        // mount the next medium; size = its number in the sequence, from 1
  VDC_GetPosition = 9,
  VDC_SetPosition = 10,  // with VDF_RandomAccess, size is a VDWhence
  VDC_Discard = 11,
  VDC_Flush = 12,     // complete it when everything is durable; may come several times
  VDC_Snapshot = 13,  // the database is frozen *now*: take the snapshot fast
  VDC_MountSnapshot = 14,
  VDC_PrepareToFreeze = 15,  // completing it permits the freeze
  VDC_FileInfoBegin = 16,
  VDC_FileInfoEnd = 17,
  VDC_GetError = 18,
  VDC_Complete = 19  // all data was sent; completing it with an error fails the backup
};

enum VDWhence { VDC_Beginning = 0, VDC_Current = 1, VDC_End = 2 };

// In Create the program's wishes: only deviceCount is needed, 0 elsewhere means no wish. From
// GetConfiguration the final values. Sizes are bytes.
struct VDConfig {
  uint32_t deviceCount;            // 1..64: how many VIRTUAL_DEVICE clauses the statement has
  uint32_t features;               // VDF_ bits
  uint32_t prefixZoneSize;         // private room in front of each buffer, at buffer - this
  uint32_t alignment;              // of each buffer; a power of two up to 65536
  uint32_t softFileMarkBlockSize;  // with VDF_FileMarks; 0 = the medium has real filemarks
  uint32_t EOMWarningSize;         // how much fits after ERROR_END_OF_MEDIA
  uint32_t serverTimeOut;    // *milliseconds*: two of them without a completion abort the set;
                             // 0 = never. Unlike the timeouts of the calls below
  uint32_t blockSize;        // set by the server: every transfer is a multiple of it
  uint32_t maxIODepth;       // set by the server: always 4, means nothing
  uint32_t maxTransferSize;  // set by the server: the largest Read or Write
  uint32_t bufferAreaSize;   // set by the server: all shared buffers together
};

// A command for the program. Library memory: read it, never write it. It stays as it was for at
// least 256 further commands of its device, completed or not; after Close it is gone.
struct VDC_Command {
  int32_t commandCode;  // VDC_*
  int32_t size;         // bytes for Read and Write; a count or a whence for others
  int64_t position;     // bytes from the beginning; with VDF_RandomAccess, and for SetPosition
  uint8_t* buffer;      // Read and Write only. Yours until CompleteCommand, then the server's
};

// A command as the server's side has it. Programs do not need it; it is part of the interface.
struct VDS_Command {
  int32_t commandCode;
  int32_t size;
  int64_t inPosition;
  int64_t outPosition;
  uint8_t* buffer;
  uint8_t* completionRoutine;
  uint8_t* completionContext;
  int32_t completionCode;
  int32_t bytesTransferred;
};

}  // extern "C"

// The library's own data.
struct CVD;
struct CVDS;

#if defined(__GNUC__)
#define SQLVDI_API __attribute__((visibility("default")))
#else
#define SQLVDI_API
#endif

// One device of a set, made by OpenDevice. The set owns it: it is of no use after Close. Deleting
// it is not needed, and harmless after its last use.
class SQLVDI_API ClientVirtualDevice {
 public:
  ClientVirtualDevice();
  ~ClientVirtualDevice();

  // Waits for the next command; they come in the order of the server. More may be fetched before
  // earlier ones are completed.
  // timeout: SECONDS; 0 = do not wait; negative or 0xFFFFFFFF = forever. (With the environment
  // variable CAPSTAN_VDI_TIMEOUT_UNIT=ms: milliseconds.) An abort ends every wait at once.
  // NOERROR; VD_E_CLOSE: the server closed the device, leave the loop; VD_E_TIMEOUT; VD_E_ABORT;
  // VD_E_PROTOCOL: the device is not open; VD_E_INVALID.
  int GetCommand(time_t timeout, VDC_Command** command);

  // Says how a command ended and returns its buffer to the server. Never waits.
  // completionCode: ERROR_*. bytesTransferred: for Read and Write only. position: for GetPosition
  // and SetPosition only.
  // NOERROR; VD_E_INVALID: not an outstanding command of this device, or more bytes than it asked
  // for; VD_E_ABORT; VD_E_PROTOCOL: the device is not open.
  int CompleteCommand(VDC_Command* command, int completionCode, unsigned long bytesTransferred,
                      int64_t position);

 private:
  friend struct CVD;
  ClientVirtualDevice(const ClientVirtualDevice&) = delete;
  ClientVirtualDevice& operator=(const ClientVirtualDevice&) = delete;

  CVD* cvd;
};

// A virtual device set, or the lack of one: after Close the same object may Create again.
class SQLVDI_API ClientVirtualDeviceSet {
 public:
  ClientVirtualDeviceSet();
  // Closes. Not needed: the end of the process closes as well.
  ~ClientVirtualDeviceSet();

  // Registers the set with the server. Does not wait for a statement; send that afterwards.
  // name: unique on this server, up to 128 bytes, no backslash; a GUID is best.
  // NOERROR; VD_E_INSTANCE_NAME: no server listens; VD_E_SECURITY: it does not admit this user;
  // VD_E_NOTSUPPORTED: see VDFeatures and VDConfig; VD_E_PROTOCOL: the name is taken, or this
  // object has a set; VD_E_INVALID; VD_E_MEMORY; VD_E_BUSY: the server does not answer.
  int Create(char* name, VDConfig* config);

  // Waits until a statement has configured the set, then returns the final values, then and ever
  // after. May be called again after VD_E_TIMEOUT.
  // timeout: MILLISECONDS from 1000 on, SECONDS below; 0 = do not wait; negative or 0xFFFFFFFF =
  // forever. (With CAPSTAN_VDI_TIMEOUT_UNIT=s or =ms: that unit, whatever the value.)
  // NOERROR; VD_E_TIMEOUT; VD_E_ABORT; VD_E_PROTOCOL: no set; VD_E_INVALID.
  int GetConfiguration(time_t timeout, VDConfig* config);

  // name: that of a VIRTUAL_DEVICE clause; that of the first one is the set's.
  // NOERROR; VD_E_INVALID: the statement has no such device; VD_E_OPEN: all devices are open;
  // VD_E_PROTOCOL: this one is, or the set is not configured; VD_E_ABORT. If not NOERROR, *device
  // is NULL.
  int OpenDevice(char* name, ClientVirtualDevice** device);

  // Releases everything; all devices, commands and buffers of the set are gone.
  // NOERROR; VD_E_OPEN: devices were still open, so the set was aborted, and is closed now all the
  // same; VD_E_PROTOCOL: no set.
  int Close();

  // Ends the set for both sides, at once and for good; the statement fails. Any thread, any time.
  // NOERROR; VD_E_PROTOCOL: no set.
  int SignalAbort();

  // Joins, from another process, a set whose creator's GetConfiguration has succeeded.
  // NOERROR; VD_E_PROTOCOL: no such set, not configured, or this object has one; VD_E_ABORT; and
  // as Create.
  int OpenInSecondary(char* name);

  // A number for a command's buffer, valid in every process of the set.
  // NOERROR; VD_E_INVALID: not a buffer of this set; VD_E_PROTOCOL: no configured set; VD_E_ABORT.
  int GetBufferHandle(uint8_t* buffer, unsigned int* handle);

  // The buffer's address in this process. The process that fetched the command completes it.
  // NOERROR; VD_E_INVALID: not a handle of this set; VD_E_PROTOCOL: no configured set; VD_E_ABORT.
  int MapBufferHandle(int handle, uint8_t** buffer);

  // Does nothing; some programs call it after a device was closed. The library counts by itself.
  void RegisterDeviceClosed();

 private:
  friend struct CVDS;
  ClientVirtualDeviceSet(const ClientVirtualDeviceSet&) = delete;
  ClientVirtualDeviceSet& operator=(const ClientVirtualDeviceSet&) = delete;

  CVDS* cvds;
};

#pragma pack(pop)

#endif  // CAPSTAN_VDI_SQLVDI_INCLUDE_VDI_H_
