// PartWriter: gathers what is written into parts and sends each as soon as it is full.
//
// Writes may come in any order, but must not come back to a part that was sent, unless it is the
// last one: that is kept, and sent again longer, so that a flush in the middle is possible. Bytes
// that were never written are zeros.
// Threads: all calls from one; parts come back on the HttpClient's thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "plugins/s3/part_memory.h"
#include "plugins/s3/part_plan.h"
#include "plugins/s3/upload.h"

namespace capstan::s3 {

class PartWriter {
 public:
  // Gives the upload that takes an object's parts, and begins it the first time.
  using UploadFor = std::function<Failure(const PartPlace& place, Upload** upload)>;

  struct Options {
    PartPlan plan;
    std::size_t memory = 0;                            // bytes
    std::shared_ptr<const std::atomic<bool>> give_up;  // once true, nothing waits for memory
  };
  PartWriter(PartMemory& memory, Options options, UploadFor upload_for);
  ~PartWriter();  // waits for what is being sent

  // `position` counts from the beginning of what is written. Waits for memory.
  Failure Write(std::int64_t position, std::span<const std::byte> bytes);
  // False: not all of it is in memory any more.
  bool Read(std::int64_t position, std::span<std::byte> bytes);

  // Everything written is at the server when it returns.
  Failure Flush();

  // Lets go of memory that only further writes would need.
  void Forget();

  // What went wrong with a part that was sent; it stands until ClearFailure.
  Failure failure();
  void ClearFailure();  // such parts are sent again by Flush

  std::int64_t end() const { return end_; }

 private:
  struct Range {
    std::int64_t begin = 0;  // in the part
    std::int64_t end = 0;
  };
  enum class State { kFilling, kSending, kSent, kFailed };
  struct Part {
    PartPlace place;
    std::unique_ptr<PartMemory::Piece> memory;
    std::vector<Range> written;  // sorted, apart from each other
    State state = State::kFilling;
  };

  Failure Find(const PartPlace& place, Part** part);
  Failure Send(Part& part);
  void OnSent(std::int64_t begin, Failure failure);
  bool IsFull(const Part& part) const;
  static void Add(std::vector<Range>* ranges, Range range);
  void ZeroHoles(Part& part, std::int64_t size);

  PartMemory& memory_;
  const Options options_;
  const UploadFor upload_for_;
  std::int64_t end_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  // By begin. The thread of the calls adds and removes, and changes what is not being sent; the
  // HttpClient's takes what was sent away. Guarded by mutex_.
  std::map<std::int64_t, Part> parts_;
  std::set<std::int64_t> sent_;  // guarded by mutex_; begins of parts that were sent at least once
  int sending_ = 0;              // guarded by mutex_
  Failure failure_;              // guarded by mutex_
};

}  // namespace capstan::s3
