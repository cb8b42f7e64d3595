// The client's end of a virtual device set: what an agent, or a vendor's program, holds.
//
// The primary client creates the set by name, waits until the engine has configured it, opens its
// devices, executes the commands that arrive, and closes. Other processes of the same program may
// join the configured set as secondaries, each with devices of its own. States and return codes
// follow VDI (client calls by state); the mapping of VDI's VD_E_* numbers onto Code is: TIMEOUT
// kDeadlineExceeded, ABORT kAborted, INVALID kInvalidArgument, NOTSUPPORTED kUnimplemented, MEMORY
// kResourceExhausted, UNEXPECTED kInternal, PROTOCOL kFailedPrecondition, OPEN kAlreadyExists, BUSY
// kUnavailable, SECURITY kPermissionDenied. VD_E_CLOSE is not an error: GetCommand returns nullopt.
//
// The death or abort of the engine or of the primary ends every wait with kAborted within a second;
// so does a secondary that ends with a device open that the engine has not closed.
// Threads: ClientDeviceSet may be used from any thread; one ClientDevice's GetCommand from one
// thread at a time, its CompleteCommand from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "vdi/base/clock.h"
#include "vdi/base/status.h"
#include "vdi/device_types.h"

namespace capstan::vdi {

// Names a transfer buffer of a set in every process of the set, where its address differs.
// Never 0.
using BufferHandle = std::uint32_t;

// A command as the client sees it. `buffer` is the client's from GetCommand to CompleteCommand.
struct ClientCommand {
  std::uint64_t id = 0;  // names the command in CompleteCommand
  CommandCode code = CommandCode::kRead;
  std::uint32_t size = 0;     // bytes for kRead and kWrite; a count or a whence for others
  std::int64_t position = 0;  // bytes from the beginning; only with kRandomAccess, and kSetPosition
  std::byte* buffer = nullptr;  // data of kRead and kWrite, otherwise null
};

class ClientDevice {
 public:
  virtual ~ClientDevice() = default;

  // The next command in order of sending, or nullopt once the engine closed the device normally.
  // May be called again before earlier commands are completed.
  // kDeadlineExceeded, kAborted, kFailedPrecondition (device not open).
  virtual Result<std::optional<ClientCommand>> GetCommand(Deadline deadline) = 0;

  // Returns the command's buffer to the engine. Never blocks.
  // `bytes` for kRead and kWrite, `position` for kGetPosition and kSetPosition; otherwise 0.
  // kInvalidArgument: no such command is outstanding. kAborted, kFailedPrecondition.
  virtual Status CompleteCommand(std::uint64_t command_id, CompletionCode code, std::uint32_t bytes,
                                 std::int64_t position) = 0;
};

class ClientDeviceSet {
 public:
  // Registers a new set with the engine that listens at `rendezvous_path`. Does not wait for a
  // statement to use it. kUnimplemented: the wishes are not supported; kFailedPrecondition: the
  // name is taken; kUnavailable: nobody listens there (the message says where); kPermissionDenied.
  static Result<std::unique_ptr<ClientDeviceSet>> Create(const std::string& rendezvous_path,
                                                         std::string_view name,
                                                         const DeviceSetConfig& wishes);

  // Joins a set that another process has created and that the engine has configured: call it when
  // the primary's GetConfiguration has returned. kFailedPrecondition: no such set, or not
  // configured yet; kAborted; kResourceExhausted: too many processes have joined; kUnavailable and
  // kPermissionDenied as in Create.
  static Result<std::unique_ptr<ClientDeviceSet>> OpenInSecondary(
      const std::string& rendezvous_path, std::string_view name);

  virtual ~ClientDeviceSet() = default;  // closes; a set with open devices is aborted

  // Waits until the engine has configured the set; in a secondary it has. May be called again, also
  // after a timeout.
  virtual Result<DeviceSetConfig> GetConfiguration(Deadline deadline) = 0;

  // The device is owned by the set and valid until Close. Names come with the statement: the first
  // device is called as the set. Exactly one process gets a device. kAlreadyExists: all devices of
  // the set are open, in whatever process; kFailedPrecondition: this one is; kInvalidArgument: no
  // such name.
  virtual Result<ClientDevice*> OpenDevice(std::string_view name) = 0;

  // A buffer of this set as a number that other processes of the set can map. kInvalidArgument: not
  // the data of a buffer of this set; kFailedPrecondition: not configured, or closed.
  virtual Result<BufferHandle> GetBufferHandle(const std::byte* buffer) = 0;
  // The buffer's address in this process. Who holds the command of the buffer says who may touch
  // it; the process that got the command completes it. Errors as GetBufferHandle; a handle of an
  // area that this process does not have yet is waited for, up to a second.
  virtual Result<std::byte*> MapBufferHandle(BufferHandle handle) = 0;

  // Ends the set for all sides, irrevocably. Idempotent; any thread, any time.
  virtual void SignalAbort() = 0;
  // OK, or who ended the set: kUnavailable if the engine died, otherwise kAborted.
  virtual Status abort_reason() const = 0;

  // kAlreadyExists: devices were still open, in this process or, at the primary's Close, in any;
  // the set was aborted, and everything released anyway.
  virtual Status Close() = 0;
};

}  // namespace capstan::vdi
