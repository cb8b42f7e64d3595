#include "agent/decorators/rate_limit.h"

#include <algorithm>

namespace capstan::agent {
namespace {

// Of unused time that may be caught up with, so that short pauses cost no rate.
constexpr std::chrono::milliseconds kCredit{100};

}  // namespace

RateLimit::RateLimit(std::uint64_t bytes_per_second)
    : bytes_per_second_(static_cast<double>(bytes_per_second)) {}

RateLimit::TimePoint RateLimit::Take(std::uint64_t bytes, TimePoint now) {
  const std::chrono::duration<double> price(static_cast<double>(bytes) / bytes_per_second_);
  const MutexLock lock(mutex_);
  const TimePoint begin = std::max(paid_until_, now - kCredit);
  paid_until_ = begin + std::chrono::duration_cast<TimePoint::duration>(price);
  return std::max(begin, now);
}

}  // namespace capstan::agent
