#include "server/writers/postgres/pending_extents.h"

#include <algorithm>
#include <iterator>

namespace capstan::writers {

void PendingExtents::Reserve(std::uint32_t file_index, std::uint64_t end) {
  const MutexLock lock(mutex_);
  ends_[file_index] = std::max(ends_[file_index], end);
}

Extent PendingExtents::Add(std::uint32_t file_index, ExtentPlan plan) {
  std::uint64_t& end = ends_[file_index];
  const Extent extent{.file_index = file_index, .offset = end, .length = plan.length()};
  end += extent.length;
  const MutexLock lock(mutex_);
  pending_.emplace(Key(file_index, extent.offset),
                   Pending{.plan = std::make_shared<const ExtentPlan>(std::move(plan)),
                           .unread_bytes = extent.length});
  return extent;
}

Status PendingExtents::Read(const Extent& extent, std::span<std::byte> target,
                            const ExtentPlan::Verification& verification) {
  auto [begin, plan] = Find(Key(extent.file_index, extent.offset));
  const std::uint64_t position = extent.offset - begin.second;
  if (plan == nullptr || extent.length != target.size() || position > plan->length() ||
      extent.length > plan->length() - position) {
    return Error(Code::kInvalidArgument, "{} bytes at byte {} of file {} are of no extent",
                 extent.length, extent.offset, extent.file_index);
  }
  CAPSTAN_RETURN_IF_ERROR(plan->Read(static_cast<std::uint32_t>(position), target, verification));
  plan.reset();
  CountRead(begin, extent.length);
  return OkStatus();
}

std::pair<PendingExtents::Key, std::shared_ptr<const ExtentPlan>> PendingExtents::Find(
    const Key& byte) {
  const MutexLock lock(mutex_);
  const auto behind = pending_.upper_bound(byte);
  if (behind == pending_.begin()) {
    return {byte, nullptr};
  }
  const auto found = std::prev(behind);
  if (found->first.first != byte.first) {
    return {byte, nullptr};
  }
  return {found->first, found->second.plan};
}

void PendingExtents::CountRead(const Key& begin, std::uint32_t length) {
  std::shared_ptr<const ExtentPlan> last;  // closes its files without the lock
  const MutexLock lock(mutex_);
  const auto found = pending_.find(begin);
  if (found == pending_.end()) {
    return;  // somebody read a part twice
  }
  found->second.unread_bytes -= std::min(found->second.unread_bytes, length);
  if (found->second.unread_bytes == 0) {
    last = std::move(found->second.plan);
    pending_.erase(found);
  }
}

}  // namespace capstan::writers
