// PartPlan: which part of which object takes a byte of what is written.
//
// S3 takes 10,000 parts per object and 5 TiB. Parts begin small and double after every thousand of
// them, as far as memory allows: a part is kept until the server has it, since it may have to be
// sent again. When an object is full, the next one goes on; all are of one medium. The plan depends
// on nothing but its arguments.
// Threads: any; immutable.
#pragma once

#include <cstdint>

namespace capstan::s3 {

struct PartPlace {
  std::uint32_t object_index = 0;  // 0 = the first
  std::int64_t object_begin = 0;   // in what is written
  std::uint32_t part_number = 1;   // in the object
  std::int64_t begin = 0;          // in what is written
  std::int64_t size = 0;           // bytes

  std::int64_t end() const { return begin + size; }
};

class PartPlan {
 public:
  static constexpr std::int64_t kMiB = 1 << 20;
  static constexpr std::uint32_t kPartCountMax = 10'000;
  static constexpr std::int64_t kObjectSizeMax = 5 * kMiB * kMiB;

  // Bytes. `size_estimate` 0: unknown.
  PartPlan(std::int64_t first_part_size, std::int64_t part_size_max, std::int64_t size_estimate);

  // `position` counts from the beginning of what is written, and is not negative.
  PartPlace At(std::int64_t position) const;

  std::int64_t object_size() const { return object_size_; }  // of a full one

 private:
  static constexpr std::uint32_t kStepCount = 1'000;  // parts of one size

  std::int64_t SizeOfStep(std::uint32_t step) const;

  std::int64_t first_size_;
  std::int64_t size_max_;
  std::int64_t object_size_ = 0;
};

}  // namespace capstan::s3
