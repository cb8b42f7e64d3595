// The engine's end of a virtual device set (VDI: IServerVirtualDeviceSet2).
//
// A set is found by name (Rendezvous::Open), configured once, then used: buffers are allocated from
// the shared area, commands are sent, completions arrive by callback.
//
//   Connected --BeginConfiguration--> Configurable --EndConfiguration--> Initializing
//     --OpenDevice--> Active --CloseDevice on each--> NormallyTerminated;   any --abort--> Abort
//
// The client is untrusted: whatever it writes into the segment is loaded once, checked, then used.
// A peer that breaks the protocol, dies, or lets server_timeout_ms pass twice, aborts the set and
// nothing else.
// Threads: any, unless a method says otherwise. Callbacks run on the set's completion thread (or,
// when SendCommand itself fails, not at all): they must not block and must not call Close.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/clock.h"
#include "vdi/base/status.h"
#include "vdi/device_types.h"

namespace capstan::vdi {

// One command in flight. The engine owns the object and keeps it until the callback has run.
struct ServerCommand {
  // in
  CommandCode code = CommandCode::kRead;
  // Bytes for kRead and kWrite, a multiple of the block size; a Whence for kSetPosition; a count
  // for kSkipMarks and kSkipBlocks, negative (as a signed number) with kReversePosition; a number
  // of a medium for kLoad.
  std::uint32_t size = 0;
  std::int64_t position = 0;    // used with kRandomAccess
  std::byte* buffer = nullptr;  // from AllocateBuffer, for kRead and kWrite
  void (*completion_routine)(ServerCommand* command) = nullptr;
  void* completion_context = nullptr;
  // out, valid inside the routine
  CompletionCode completion_code = CompletionCode::kSuccess;
  std::uint32_t bytes_transferred = 0;  // never more than size
  std::int64_t out_position = 0;
  std::uint64_t sent_ns = 0;  // MonotonicNanos() at SendCommand
  std::uint64_t completed_ns =
      0;  // MonotonicNanos() when the client completed, as this side saw it
};

class ServerDevice {
 public:
  virtual ~ServerDevice() = default;
  virtual const std::string& name() const = 0;

  // Queues one command. After an OK return the routine runs exactly once: with the client's code,
  // with 1117 (kIoDevice) when an earlier command of this device failed, or with 995
  // (kOperationAborted) when the set ended. kResourceExhausted: the queue is full;
  // kFailedPrecondition: not open, or in IO-ERROR and not kClearError; kAborted; kUnimplemented:
  // the client's features do not offer the command. Positioning, kFlush, kComplete and the like may
  // be sent only while nothing else is in flight on the device (kFailedPrecondition otherwise).
  // kClearError may be sent as soon as the device is in IO-ERROR, once at a time: the client gets
  // it when it has completed all that was delivered to it before.
  virtual Status SendCommand(ServerCommand* command) = 0;

  // Ends the device in good order: the client's GetCommand then says so. REQUIRES: nothing in
  // flight.
  virtual Status CloseDevice() = 0;

  virtual std::uint32_t in_flight() const = 0;
};

// What the engine decides in BeginConfiguration; the rest is taken from the client's wishes.
struct EngineConfiguration {
  std::uint32_t added_features = 0;           // kWriteMedia and/or kReadMedia, kCompleteEnabled
  std::uint32_t block_size = 4096;            // power of two, 512..65536
  std::uint32_t alignment = 4096;             // power of two, block_size..65536
  std::uint32_t max_transfer_size = 1 << 20;  // multiple of 65536, up to 4 MiB
};

class ServerDeviceSet {
 public:
  virtual ~ServerDeviceSet() = default;  // as Close

  virtual const std::string& name() const = 0;
  // Process id of the primary client as the kernel reported it, for messages.
  virtual int client_pid() const = 0;
  // The client's wishes, later the final values.
  virtual DeviceSetConfig GetConfiguration() const = 0;

  virtual Status BeginConfiguration(const EngineConfiguration& configuration) = 0;
  // Asks for `count` buffers of `size` data bytes each, a multiple of the block size, whose data
  // starts at a multiple of `alignment`: 0 or less than the set's is the set's, 64 KiB the most.
  // Before EndConfiguration all requests are summed into one area. Afterwards each is an area of
  // its own, there at once; kResourceExhausted: no memory, or too many areas (16).
  virtual Status RequestBuffers(std::uint32_t size, std::uint32_t alignment,
                                std::uint32_t count) = 0;
  // How many such buffers AllocateBuffer could give out now; none before EndConfiguration.
  virtual Result<std::uint32_t> QueryAvailableBuffers(std::uint32_t size,
                                                      std::uint32_t alignment) const = 0;
  // Reserves the shared memory, publishes the device names (the first must equal the set's name)
  // and lets the client's GetConfiguration return. kResourceExhausted: no memory; the set stays
  // Configurable without buffers, and a smaller request may follow.
  virtual Status EndConfiguration(std::span<const std::string> device_names) = 0;

  // The smallest free one of the requested buffers with at least `size` bytes at a multiple of
  // `alignment` (0: any of the set's); the prefix zone lies in front of it. kResourceExhausted: all
  // are taken, or none such was requested.
  virtual Result<std::byte*> AllocateBuffer(std::uint32_t size, std::uint32_t alignment) = 0;
  // Gives back a buffer that no command in flight uses. kInvalidArgument: not one of this set's.
  virtual Status FreeBuffer(std::byte* buffer) = 0;
  // Whether the address, any address, lies in shared memory of this set.
  virtual bool IsSharedBuffer(const void* address) const = 0;

  // Waits until the client has opened this device, then activates it.
  virtual Result<ServerDevice*> OpenDevice(std::string_view name, Deadline deadline) = 0;

  // Ends the set for both sides; every command in flight calls back with 995. Idempotent.
  // `why` is for messages and logs; the first reason is kept.
  virtual void SignalAbort(Status why) = 0;
  // OK, or why the set was aborted (by the client, by its death, by a time-out, by us).
  virtual Status abort_reason() const = 0;

  // Releases everything. Open devices are aborted first, and kFailedPrecondition is returned.
  // On return no callback runs any more.
  virtual Status Close() = 0;
};

}  // namespace capstan::vdi
