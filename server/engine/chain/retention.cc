#include "server/engine/chain/retention.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace capstan::engine {
namespace {

using media::BackupSet;
using media::SetKind;

constexpr std::int64_t kDay = 86'400;  // seconds

std::string_view KindName(const BackupSet& set) {
  switch (set.kind) {
    case SetKind::kLog:
      return "log";
    case SetKind::kDifferential:
      return "differential";
    case SetKind::kDatabase:
      break;
  }
  return "full";
}

// Sets whose media cannot be removed without each other: those of a media set, and those with a
// medium in common.
class MediaGroups {
 public:
  explicit MediaGroups(std::span<const RetentionCandidate> candidates)
      : parent_(candidates.size()) {
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
    std::map<std::string, std::size_t> first_at;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const catalog::KnownSet& known = *candidates[i].known;
      const auto join = [&](const std::string& key) {
        const auto [at, added] = first_at.emplace(key, i);
        parent_[Of(i)] = Of(at->second);
      };
      if (!known.media.media_set_id.is_zero()) {
        join(known.media.media_set_id.ToString());
      }
      for (const catalog::KnownSet::Place& place : known.places) {
        join(place.device_class + "=" + place.target);
      }
    }
  }

  std::size_t Of(std::size_t index) {
    while (parent_[index] != index) {
      parent_[index] = parent_[parent_[index]];
      index = parent_[index];
    }
    return index;
  }

 private:
  std::vector<std::size_t> parent_;
};

class Decision {
 public:
  Decision(std::span<const RetentionCandidate> candidates, const RetentionPolicy& policy)
      : candidates_(candidates), policy_(policy), verdicts_(candidates.size()) {}

  std::vector<RetentionVerdict> Run() {
    std::map<std::string, std::vector<std::size_t>> databases;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      databases[SetOf(i).database_name].push_back(i);
    }
    for (const auto& [name, indices] : databases) {
      DecideDatabase(indices);
    }
    KeepSharedMedia();
    return std::move(verdicts_);
  }

 private:
  const BackupSet& SetOf(std::size_t index) const { return candidates_[index].known->set; }

  void Keep(std::size_t index, std::string reason) {
    verdicts_[index] = {.goes = false, .reason = std::move(reason)};
  }

  // Full backups to count by, the newest first.
  std::vector<std::size_t> FullsOf(const std::vector<std::size_t>& indices) const {
    std::vector<std::size_t> fulls;
    for (const std::size_t i : indices) {
      const BackupSet& set = SetOf(i);
      if (set.kind == SetKind::kDatabase && !set.copy_only && !set.is_snapshot &&
          candidates_[i].usable) {
        fulls.push_back(i);
      }
    }
    std::stable_sort(fulls.begin(), fulls.end(), [&](std::size_t a, std::size_t b) {
      return SetOf(a).finished().earliest_us > SetOf(b).finished().earliest_us;
    });
    return fulls;
  }

  // The oldest full backup that the policy keeps; nullopt: all are.
  std::optional<std::size_t> OldestKept(const std::vector<std::size_t>& fulls) const {
    if (policy_.keep_full > 0) {
      const auto count = static_cast<std::size_t>(policy_.keep_full);
      return count < fulls.size() ? std::optional(fulls[count - 1]) : std::nullopt;
    }
    // The first point in time that is kept needs a full backup from before it.
    const std::int64_t cutoff = policy_.now_unix_s - policy_.keep_days * kDay;
    const auto found = std::find_if(fulls.begin(), fulls.end(), [&](std::size_t i) {
      return SetOf(i).finish_unix_s <= cutoff;
    });
    return found == fulls.end() ? std::nullopt : std::optional(*found);
  }

  std::string PolicyText() const {
    return policy_.keep_full > 0
               ? fmt::format("the newest {} full backups are kept", policy_.keep_full)
               : fmt::format("every point of the last {} days is kept", policy_.keep_days);
  }

  void DecideDatabase(const std::vector<std::size_t>& indices) {
    const std::optional<std::size_t> oldest = OldestKept(FullsOf(indices));
    std::vector<std::size_t> kept_fulls;
    for (const std::size_t i : indices) {
      const BackupSet& set = SetOf(i);
      if (!oldest.has_value()) {
        Keep(i, PolicyText() + ", and there are no more than that");
      } else if (set.kind == SetKind::kDatabase) {
        DecideFull(i, *oldest);
      }
      if (!verdicts_[i].goes && set.kind == SetKind::kDatabase) {
        kept_fulls.push_back(i);
      }
    }
    if (oldest.has_value()) {
      for (const std::size_t i : indices) {
        DecideDependent(i, *oldest, kept_fulls);
      }
    }
    for (const std::size_t i : indices) {
      Pin(i);
    }
    KeepBasesOf(indices);
  }

  void DecideFull(std::size_t i, std::size_t oldest) {
    if (NotBefore(SetOf(i), SetOf(oldest))) {
      Keep(i, PolicyText());
    } else {
      verdicts_[i] = {.goes = true, .reason = "there are newer full backups, which are kept"};
    }
  }

  // A differential, a log set. What a full backup that cannot be used now would need stays as well:
  // its media may come back.
  void DecideDependent(std::size_t i, std::size_t oldest,
                       const std::vector<std::size_t>& kept_fulls) {
    const BackupSet& set = SetOf(i);
    if (set.kind == SetKind::kDatabase) {
      return;
    }
    const auto needed_by = std::find_if(kept_fulls.begin(), kept_fulls.end(), [&](std::size_t k) {
      return set.kind == SetKind::kDifferential
                 ? set.differential_base_guid == SetOf(k).backup_set_guid
                 : GoesFurther(set, SetOf(k));
    });
    if (needed_by != kept_fulls.end()) {
      Keep(i, "it goes on from a full backup that is kept");
    } else if (set.kind == SetKind::kDifferential && BaseIsUnknown(set) &&
               NotBefore(set, SetOf(oldest))) {
      Keep(i, "its base is not in the history");
    } else {
      verdicts_[i] = {.goes = true, .reason = "no backup that is kept needs it"};
    }
  }

  // As far as their times are known.
  static bool NotBefore(const BackupSet& set, const BackupSet& other) {
    return set.finished().latest_us >= other.finished().earliest_us;
  }

  static bool GoesFurther(const BackupSet& log, const BackupSet& full) {
    const bool same_fork =
        log.recovery_fork == full.recovery_fork || log.first_recovery_fork == full.recovery_fork;
    return same_fork ? log.last_lsn > full.last_lsn : NotBefore(log, full);
  }

  bool BaseIsUnknown(const BackupSet& differential) const {
    return std::none_of(
        candidates_.begin(), candidates_.end(), [&](const RetentionCandidate& each) {
          return each.known->set.backup_set_guid == differential.differential_base_guid;
        });
  }

  // What stays for a reason of its own.
  void Pin(std::size_t i) {
    const BackupSet& set = SetOf(i);
    if (!candidates_[i].pinned.empty()) {
      Keep(i, candidates_[i].pinned);
    } else if (verdicts_[i].goes && set.expiration_unix_s > policy_.now_unix_s) {
      Keep(i, "it may not be removed before it expires");
    }
  }

  // A full backup goes only with every differential on it.
  void KeepBasesOf(const std::vector<std::size_t>& indices) {
    for (const std::size_t i : indices) {
      if (SetOf(i).kind != SetKind::kDifferential || verdicts_[i].goes) {
        continue;
      }
      for (const std::size_t base : indices) {
        if (verdicts_[base].goes &&
            SetOf(base).backup_set_guid == SetOf(i).differential_base_guid) {
          Keep(base, "a differential backup that goes on from it stays");
        }
      }
    }
  }

  // A medium goes with all its sets, or not at all. Keeping one may keep the base of a
  // differential, and with that the next medium.
  void KeepSharedMedia() {
    MediaGroups groups(candidates_);
    bool changed = true;
    while (changed) {
      changed = false;
      std::map<std::size_t, std::size_t> stays;  // by group: a set that stays
      for (std::size_t i = 0; i < candidates_.size(); ++i) {
        if (!verdicts_[i].goes) {
          stays.emplace(groups.Of(i), i);
        }
      }
      for (std::size_t i = 0; i < candidates_.size(); ++i) {
        const auto other = stays.find(groups.Of(i));
        if (verdicts_[i].goes && other != stays.end()) {
          const BackupSet& set = SetOf(other->second);
          Keep(i, fmt::format("its media also hold a {} backup of '{}' that stays", KindName(set),
                              set.database_name));
          changed = true;
        }
      }
      std::vector<std::size_t> all(candidates_.size());
      std::iota(all.begin(), all.end(), std::size_t{0});
      const auto going = [&] {
        return std::count_if(verdicts_.begin(), verdicts_.end(),
                             [](const RetentionVerdict& verdict) { return verdict.goes; });
      };
      const auto before = going();
      KeepBasesOf(all);
      changed = changed || going() != before;
    }
  }

  const std::span<const RetentionCandidate> candidates_;
  const RetentionPolicy& policy_;
  std::vector<RetentionVerdict> verdicts_;
};

}  // namespace

std::vector<RetentionVerdict> DecideRetention(std::span<const RetentionCandidate> candidates,
                                              const RetentionPolicy& policy) {
  return Decision(candidates, policy).Run();
}

}  // namespace capstan::engine
