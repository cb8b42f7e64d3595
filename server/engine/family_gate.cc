#include "server/engine/family_gate.h"

#include <algorithm>
#include <map>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::engine {

Status CheckFamilies(const std::vector<ArrivedFamily>& families, std::size_t lost_count) {
  const ArrivedFamily& first = families.front();
  std::map<std::uint16_t, std::string> seen;
  for (const ArrivedFamily& family : families) {
    if (family.header.media_set_id != first.header.media_set_id) {
      return SqlError(3258, family.target)
          .WithHint(fmt::format("'{}' belongs to media set {}, '{}' to {}", first.target,
                                first.header.media_set_id.ToString(), family.target,
                                family.header.media_set_id.ToString()));
    }
    const auto [earlier, is_new] = seen.emplace(family.header.family_number, family.target);
    if (!is_new) {
      return SqlError(3227, family.target, family.header.family_number, earlier->second);
    }
    if (family.set.backup_set_guid != first.set.backup_set_guid) {
      return SqlError(3232, family.target, family.header.media_sequence_number,
                      family.header.family_number);
    }
  }
  const std::size_t wanted = first.header.family_count;
  if (families.size() + lost_count < wanted) {
    std::string missing;
    for (std::uint16_t number = 1; number <= wanted; ++number) {
      if (!seen.contains(number)) {
        missing += fmt::format("{}{}", missing.empty() ? "" : ", ", number);
      }
    }
    return SqlError(3132, wanted, families.size() + lost_count)
        .WithHint(fmt::format("add the device that holds media family {}", missing));
  }
  if (families.size() + lost_count > wanted) {
    return SqlError(3231, first.target, wanted, families.size() + lost_count);
  }
  return OkStatus();
}

Status CheckWhole(const std::vector<FinishedFamily>& families) {
  for (const FinishedFamily& speaker : families) {
    if (speaker.trailer.damaged) {
      continue;
    }
    for (const FinishedFamily& other : families) {
      if (other.trailer.damaged) {
        continue;
      }
      const auto said = std::find_if(
          speaker.trailer.families.begin(), speaker.trailer.families.end(),
          [&](const auto& summary) { return summary.family_number == other.seen.family_number; });
      if (said == speaker.trailer.families.end() || said->frame_count != other.seen.frame_count ||
          said->payload_bytes != other.seen.payload_bytes || said->digest != other.seen.digest) {
        return SqlError(3189).WithHint(fmt::format(
            "media family {} on '{}', whose end of set is at byte {}, does not hold "
            "what '{}' says it must hold; use another copy of it",
            other.seen.family_number, other.target, other.trailer.end_offset, speaker.target));
      }
    }
  }
  return OkStatus();
}

Status FamilyGate::Arrive(ArrivedFamily family) {
  MutexLock lock(mutex_);
  if (decided_) {
    return *decided_;
  }
  arrived_.push_back(std::move(family));
  DecideIfAll();
  while (!decided_) {
    decided_cv_.Wait(mutex_);  // ends: whoever cannot arrive calls Fail
  }
  return *decided_;
}

void FamilyGate::DecideIfAll() {
  if (arrived_.size() + lost_.size() < count_ || decided_) {
    return;
  }
  Status status = arrived_.empty() ? lost_.front() : CheckFamilies(arrived_, lost_.size());
  if (status.ok()) {
    status = on_all_(arrived_.front());
  }
  decided_ = std::move(status);
  decided_cv_.NotifyAll();
}

void FamilyGate::Lose(Status why) {
  MutexLock lock(mutex_);
  lost_.push_back(std::move(why));
  DecideIfAll();
}

void FamilyGate::Fail(Status status) {
  MutexLock lock(mutex_);
  if (!decided_) {
    decided_ = std::move(status);
    decided_cv_.NotifyAll();
  }
}

}  // namespace capstan::engine
