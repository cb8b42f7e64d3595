// S3Device: one medium that is open, with its requests.
//
// Requests are carried out in their order by one thread; reading a medium goes on in the
// background, and every other operation waits for it. What is written is complete as soon as it is
// in memory: an error of the server's shows with a later write, and at the latest with FLUSH.
//
// Invariants
//  1. No COMPLETE after a failed write unless CLEAR_ERROR came between; parts that failed are then
//     sent again from memory, so nothing is ever left out.
//  2. A reader sees the medium as it was when it was opened. An appender changes nothing of it.
//  3. Close(DISCARD) and Close(KEEP) break off what is under way, and take five seconds at most.
// Threads: Submit and Close from one thread at a time; thread_ carries out, the HttpClient's thread
// completes what was read.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "capstan/plugin.h"
#include "plugins/s3/failure.h"
#include "plugins/s3/object_store.h"
#include "plugins/s3/part_writer.h"
#include "plugins/s3/ranged_reader.h"
#include "plugins/s3/read_ahead.h"
#include "plugins/s3/writing.h"

namespace capstan::s3 {

class S3Device {
 public:
  // `http` and `memory` outlive it.
  static Failure Open(const capstan_open_params& params, HttpClient& http, PartMemory& memory,
                      std::unique_ptr<S3Device>* result);
  ~S3Device();  // REQUIRES: Close was called

  Failure Submit(capstan_request* request);
  Failure Close(std::uint32_t outcome);
  const char* mode() const;
  std::string waits_for() const { return store_->client().Trouble(); }

 private:
  S3Device(const capstan_open_params& params, MediumUrl url);

  Failure OpenForRead(PartMemory& memory);
  Failure OpenForWrite(const capstan_open_params& params, PartMemory& memory);
  Failure CheckTransfer(const capstan_request& request) const;

  void Run();
  void Carry(capstan_request* request);
  void Write(capstan_request* request);
  void Read(capstan_request* request);
  Failure ReadBack(capstan_request* request, std::uint32_t count);
  void FinishRead(capstan_request* request, std::uint32_t count, const Failure& failure);
  void WaitForReads();
  Failure Control(capstan_request* request);
  Failure SetPosition(capstan_request* request);
  Failure Flush();
  Failure Complete();
  Failure End(std::uint32_t outcome);
  std::int64_t end() const;
  static void Finish(capstan_request* request, std::uint32_t code, const Failure& failure);

  const MediumUrl url_;
  const std::uint32_t mode_;
  const std::uint32_t transfer_size_max_;
  const std::shared_ptr<std::atomic<bool>> give_up_ = std::make_shared<std::atomic<bool>>(false);
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<RangedReader> reader_;   // null: a new medium
  std::unique_ptr<ReadAhead> read_ahead_;  // of a reader
  std::unique_ptr<Writing> writing_;       // null: a reader
  std::int64_t committed_ = 0;             // bytes that a writer must not touch
  std::unique_ptr<PartWriter> parts_;      // after writing_, whose uploads it uses

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<capstan_request*> requests_;  // guarded by mutex_; the first is being carried out
  int reads_in_flight_ = 0;                // guarded by mutex_
  std::int64_t cursor_ = 0;                // guarded by mutex_
  bool stopping_ = false;                  // guarded by mutex_

  std::jthread thread_;  // last: it uses everything above
};

}  // namespace capstan::s3
