// ReadAhead: makes few large GETs of many small readings that follow each other.
//
// As soon as two readings in a row went on where the one before ended, whole chunks are fetched
// into memory of our own, several at once, and readings are served from them. A reading elsewhere
// is a GET of its own, for just its bytes: one page of a large medium costs no more than that.
// Threads: Start and Forget from one; chunks arrive on the HttpClient's thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "plugins/s3/part_memory.h"
#include "plugins/s3/ranged_reader.h"

namespace capstan::s3 {

class ReadAhead {
 public:
  using Done = RangedReader::Done;

  struct Options {
    std::size_t chunk_size = 0;  // bytes
    std::size_t memory = 0;      // bytes, for chunks
  };
  // Both outlive it.
  ReadAhead(RangedReader& reader, PartMemory& memory, Options options)
      : reader_(reader), memory_(memory), options_(options) {}

  // As RangedReader::Start.
  void Start(std::int64_t position, std::span<std::byte> target, Done done);

  // Lets go of what nobody asked for. REQUIRES: nothing that was started is under way. Waits for
  // chunks that are.
  void Forget();

  ~ReadAhead() { Forget(); }

 private:
  struct Waiting {
    std::int64_t begin = 0;  // in the chunk
    std::span<std::byte> target;
    Done done;
  };
  struct Chunk {
    std::unique_ptr<PartMemory::Piece> memory;
    std::int64_t size = 0;
    bool arrived = false;
    std::int64_t given = 0;  // bytes
    std::vector<Waiting> waiting;
  };

  bool IsSequential(std::int64_t position, std::size_t size);
  // False: there is no memory for it.
  bool Fetch(std::int64_t index);
  // False: the chunk is not there and not on its way.
  bool Serve(std::int64_t index, Waiting* waiting);
  void OnArrived(std::int64_t index, const Failure& failure);

  RangedReader& reader_;
  PartMemory& memory_;
  const Options options_;
  std::int64_t next_position_ = 0;  // behind the last reading
  int in_a_row_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Chunk> chunks_;  // guarded by mutex_; by index
  int loading_ = 0;                       // guarded by mutex_
};

}  // namespace capstan::s3
