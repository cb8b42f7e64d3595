#include "plugins/s3/part_plan.h"

#include <algorithm>

namespace capstan::s3 {

PartPlan::PartPlan(std::int64_t first_part_size, std::int64_t part_size_max,
                   std::int64_t size_estimate)
    : first_size_(first_part_size), size_max_(std::max(first_part_size, part_size_max)) {
  // An estimate that is a little too low must not cost a second object.
  const std::int64_t wanted = std::min(size_estimate, kObjectSizeMax) / (kPartCountMax * 9 / 10);
  while (first_size_ < wanted && first_size_ * 2 <= size_max_) {
    first_size_ *= 2;
  }
  for (std::uint32_t step = 0; step < kPartCountMax / kStepCount; ++step) {
    object_size_ += SizeOfStep(step) * kStepCount;
  }
  object_size_ = std::min(object_size_, kObjectSizeMax);
}

std::int64_t PartPlan::SizeOfStep(std::uint32_t step) const {
  std::int64_t size = first_size_;
  for (std::uint32_t i = 0; i < step && size * 2 <= size_max_; ++i) {
    size *= 2;
  }
  return size;
}

PartPlace PartPlan::At(std::int64_t position) const {
  PartPlace place{.object_index = static_cast<std::uint32_t>(position / object_size_)};
  place.object_begin = place.object_index * object_size_;
  const std::int64_t in_object = position - place.object_begin;
  std::int64_t step_begin = 0;
  std::uint32_t step = 0;
  while (in_object >= step_begin + SizeOfStep(step) * kStepCount) {
    step_begin += SizeOfStep(step++) * kStepCount;
  }
  const std::int64_t size = SizeOfStep(step);
  const std::int64_t index = (in_object - step_begin) / size;
  place.part_number = step * kStepCount + static_cast<std::uint32_t>(index) + 1;
  place.begin = place.object_begin + step_begin + index * size;
  place.size = std::min(size, place.object_begin + object_size_ - place.begin);
  return place;
}

}  // namespace capstan::s3
