// RangedReader: any bytes of a medium, by GETs of ranges, many at once.
//
// Each GET is for the very object that the medium had when it was opened (If-Match): one that was
// put in its place meanwhile is an error and never a mixture.
// Threads: Start from any; answers on the HttpClient's thread, or from inside Start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "plugins/s3/medium.h"
#include "plugins/s3/object_store.h"

namespace capstan::s3 {

class RangedReader {
 public:
  using Done = std::function<void(Failure)>;

  // `store` outlives it, and it outlives what was started.
  RangedReader(ObjectStore& store, Medium medium) : store_(store), medium_(std::move(medium)) {}

  std::int64_t size() const { return medium_.size; }

  // Fills `target`, which must lie within the medium and is borrowed until `done`.
  void Start(std::int64_t position, std::span<std::byte> target, Done done);

 private:
  struct Pieces;

  ObjectStore& store_;
  const Medium medium_;
};

}  // namespace capstan::s3
