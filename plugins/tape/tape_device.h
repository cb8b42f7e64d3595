// TapeDevice: a drive with its cartridge that is open, and its requests.
//
// One thread carries out the requests in their order, as a tape has one place. The engine's buffers
// go to the drive as they are. What is written is complete when the drive has taken it; it is on
// the tape with the next filemark or FLUSH.
//
// Invariants
//  1. COMPLETE flushes, and is refused after a write that failed, unless CLEAR_ERROR came between.
//  2. A medium is noted as one of this family before its first byte is written.
//  3. Whoever waits for a cartridge stops within a second of Close. A command that the drive itself
//     is carrying out is waited for: there is no way to take it back.
// Threads: Submit and Close from one thread at a time, Status from any; thread_ does all else.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "capstan/plugin.h"
#include "plugins/tape/block_stream.h"
#include "plugins/tape/mounting.h"
#include "plugins/tape/tape_drive.h"
#include "plugins/tape/waiting.h"

namespace capstan::tape {

class TapeDevice {
 public:
  struct Parts {
    std::string name;  // "vault/0"
    std::unique_ptr<TapeDrive> drive;
    std::unique_ptr<Shelf> shelf;       // null: no changer
    CartridgeMemory* memory = nullptr;  // null: none; outlives it
    std::uint32_t block_size = 0;
    bool eject_when_done = false;
  };

  static Failure Open(Parts parts, const capstan_open_params& params,
                      std::unique_ptr<TapeDevice>* result);
  ~TapeDevice();  // REQUIRES: Close was called, or Open failed

  Failure Submit(capstan_request* request);
  Failure Close(std::uint32_t outcome);
  void Status(capstan_device_status* status);

 private:
  TapeDevice(Parts parts, const capstan_open_params& params);

  bool writes() const { return mode_ != CAPSTAN_OPEN_READ; }
  Failure Check(const capstan_request& request) const;
  Failure End(std::uint32_t outcome);

  void Run();
  Done Carry(const capstan_request& request);
  Done WriteThrough(const capstan_request& request);
  Done Load(std::uint32_t sequence);
  Done Complete();
  void Finish(capstan_request* request, const Done& done);

  const std::string name_;
  const std::uint32_t mode_;
  const std::uint32_t transfer_size_max_;
  const bool eject_when_done_;
  const std::unique_ptr<TapeDrive> drive_;
  Waiting waiting_;
  Mounting mounting_;
  BlockStream stream_;

  // The thread's, and Close's once it has ended.
  bool noted_ = false;  // the mounted medium, as being written
  bool written_ = false;
  bool completed_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<capstan_request*> requests_;  // guarded by mutex_; the first is being carried out
  std::uint64_t queued_bytes_ = 0;         // guarded by mutex_: of WRITEs
  std::uint64_t queued_bytes_max_ = 0;     // guarded by mutex_: that there ever were
  bool stopping_ = false;                  // guarded by mutex_

  std::jthread thread_;  // last: it uses everything above
};

}  // namespace capstan::tape
