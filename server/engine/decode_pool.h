// DecodePool: decodes the frames of compressed and encrypted sets, on as many threads as there are
// cores however many families there are. Families hand frames in as they arrive; what comes out is
// in no order.
//
// Memory: two frames and one extent per thread. Threads: its own jthreads, from Start until the
// pool goes, which call `deliver`; Submit from any thread, the rest from the job's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/engine/extent_coder.h"
#include "server/engine/first_error.h"
#include "server/engine/worker_group.h"
#include "server/media/family_reader.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {

// A frame whose payload is what is in the database, or why there is none.
struct DecodedFrame {
  media::FrameView frame;     // until `deliver` returns
  const std::string& target;  // the device that it came from
  Status status;              // 65004 if it could not be decoded; the payload is then empty
};

class DecodePool {
 public:
  // What `deliver` returns, if it is not OK, becomes the job's error.
  DecodePool(FirstError& error, std::function<Status(const DecodedFrame&)> deliver)
      : error_(error), deliver_(std::move(deliver)), workers_(error) {}
  ~DecodePool() { Close(); }
  DecodePool(const DecodePool&) = delete;
  DecodePool& operator=(const DecodePool&) = delete;

  // Once, before the first Submit. kResourceExhausted without memory.
  Status Start(const SetCoding& coding) CAPSTAN_EXCLUDES(mutex_);
  bool started() const CAPSTAN_EXCLUDES(mutex_);

  // Takes a copy of the frame, whose CRC was right, once there is room. `target` must live as long
  // as the pool. The job's error, once there is one. The wait is bounded by the job's monitor,
  // which ends the job when nothing moves.
  Status Submit(const media::FrameView& frame, const std::string& target) CAPSTAN_EXCLUDES(mutex_);

  // Nothing more will be submitted.
  void Close() CAPSTAN_EXCLUDES(mutex_);
  // Whether everything has been delivered, waiting at most `patience` for it. REQUIRES: closed.
  bool WaitAll(std::chrono::milliseconds patience) { return workers_.WaitAll(patience); }

 private:
  struct Slot {
    std::vector<std::byte> stored;
    media::FrameView frame;
    const std::string* target = nullptr;
  };

  Status Work(ExtentDecoder& decoder) CAPSTAN_EXCLUDES(mutex_);
  Status DecodeAndDeliver(ExtentDecoder& decoder, Slot& slot);
  Slot* TakeFree() CAPSTAN_EXCLUDES(mutex_);
  // Null when the pool is closed and empty, or the job has failed.
  Slot* TakeFilled() CAPSTAN_EXCLUDES(mutex_);
  void Release(Slot* slot) CAPSTAN_EXCLUDES(mutex_);

  FirstError& error_;
  const std::function<Status(const DecodedFrame&)> deliver_;

  mutable Mutex mutex_;
  CondVar freed_;
  CondVar filled_;
  std::vector<std::unique_ptr<Slot>> slots_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<Slot*> free_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<Slot*> ready_ CAPSTAN_GUARDED_BY(mutex_);
  bool closed_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::vector<std::unique_ptr<ExtentDecoder>> decoders_;
  WorkerGroup workers_;  // last: its threads use the rest
};

}  // namespace capstan::engine
