// DiskDevice: one medium that is open, with its file, what is written of it and its queue of
// requests.
//
// Invariants
//  1. The medium gets its name only in COMPLETE, and only if no write and no flush failed since the
//     last CLEAR_ERROR; a failed flush is never forgiven, as the kernel drops what it could not
//     write.
//  2. Everything below "queue thread" is touched by the queue's one thread (or, without a queue, by
//     the thread that submits) and needs no lock.
//  3. A medium that is read, and a device such as /dev/null, never has a writing.
//  4. A reader sees as much of a medium as counted when it was opened, and nothing that was
//     appended later. An appender sees and may write everything behind that, and changes nothing
//     below.
//  5. Of a construction that was gone on with everything is shown, and may be written over; the
//     medium ends where the highest write of this device ended.
// Threads: Submit and Close from one thread at a time; mode from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "capstan/plugin.h"
#include "plugins/disk/failure.h"
#include "plugins/disk/io_queue.h"
#include "plugins/disk/medium_file.h"
#include "plugins/disk/medium_path.h"
#include "plugins/disk/writing.h"

namespace capstan::disk {

class DiskDevice final : private RequestHandler {
 public:
  static Failure Open(const capstan_open_params& params, std::unique_ptr<DiskDevice>* result);
  ~DiskDevice() override = default;  // REQUIRES: Close was called

  Failure Submit(capstan_request* request);
  Failure Close(std::uint32_t outcome);
  const char* mode() const;

 private:
  static constexpr std::int64_t kNoEnd = std::numeric_limits<std::int64_t>::max();

  explicit DiskDevice(const capstan_open_params& params);

  Failure OpenMedium(const capstan_open_params& params);
  Failure OpenForRead(const MediumPath& path);
  Failure FindReadEnd(const MediumPath& path);
  Failure BeginWriting(const MediumPath& path, const capstan_open_params& params);
  Failure OpenForWrite(const MediumPath& path, const capstan_open_params& params);
  void AllocateAhead(std::uint64_t size_estimate);
  Failure OpenCharacterDevice(const MediumPath& path, std::uint64_t device_number);
  // Discards what this device began when it fails.
  Failure StartQueue(std::uint32_t depth);
  Failure CheckTransfer(const capstan_request& request) const;

  int DescriptorFor(const Transfer& transfer) const override;
  bool Advance(Transfer& transfer, int result) override;
  void RunControl(capstan_request* request) override;

  bool CutToReadEnd(Transfer& transfer) const;
  Failure CheckStillThere();
  void FinishTransfer(Transfer& transfer, std::uint32_t code, const Failure& failure);
  Failure Flush();
  Failure Complete();
  Failure SetPosition(capstan_request* request);
  static void Finish(capstan_request* request, std::uint32_t code, const Failure& failure);

  const std::string target_;
  const std::uint32_t mode_;
  const bool resumed_;  // the writing was begun by an earlier device
  const std::uint32_t transfer_size_max_;
  bool null_ = false;  // /dev/null: there is no queue
  MediumFile file_;
  std::unique_ptr<Writing> writing_;

  // Queue thread.
  std::int64_t read_end_ = kNoEnd;  // nothing behind it is shown
  std::int64_t cursor_ = 0;
  std::int64_t data_end_ = 0;  // where the medium ends
  std::uint32_t retries_ = 0;
  Failure write_failure_;
  Failure flush_failure_;
  std::chrono::steady_clock::time_point checked_;

  std::unique_ptr<IoQueue> queue_;  // last: its thread uses everything above
};

}  // namespace capstan::disk
