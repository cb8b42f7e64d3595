#include "server/media/media_plan.h"

#include <algorithm>
#include <ctime>
#include <limits>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "server/media/capstan_layout.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

// As SQL Server prints a date in a message: "Aug  1 2026 12:30:00:000AM", local time.
std::string MessageDate(std::int64_t unix_s) {
  const std::time_t time = unix_s;
  std::tm local{};
  ::localtime_r(&time, &local);
  char month[8] = "";
  std::strftime(month, sizeof(month), "%b", &local);
  const int hour = local.tm_hour % 12 == 0 ? 12 : local.tm_hour % 12;
  return fmt::format("{} {:2} {} {:2}:{:02}:{:02}:000{}", month, local.tm_mday,
                     local.tm_year + 1900, hour, local.tm_min, local.tm_sec,
                     local.tm_hour < 12 ? "AM" : "PM");
}

std::uint32_t NewFamilyId() {
  static thread_local std::random_device random;
  return random();
}

constexpr std::uint16_t kSetsMax = std::numeric_limits<std::uint16_t>::max();

class Planner {
 public:
  Planner(const MediaWishes& wishes, const MediaRows& rows) : wishes_(wishes), rows_(rows) {}

  Result<MediaPlan> Plan();

 private:
  Result<MediaPlan> PlanNew(bool any_exists) const;
  Result<MediaPlan> PlanExisting();
  // Each medium by itself, then the rows, then what the statement wants of them.
  Status CheckMedium(const MediumState& medium) const;
  Status CheckFamilyCount() const;
  Status TakeRow(std::size_t row, MediaPlan* plan) const;
  Status CheckMirrors(const MediaPlan& plan) const;
  Status CheckSets(const MediaPlan& plan) const;
  Status PlanTapes(MediaPlan* plan) const;
  Status PlanTape(std::uint16_t position, MediaPlan::Family* family) const;
  bool HasUnfinished(const Guid& set) const;
  Status CheckName() const;
  Status CheckExpiry() const;
  Status CheckTransforms() const;
  Status PlanAppend(MediaPlan* plan) const;
  const MediumState& StateOf(const MediaPlan::Medium& medium) const {
    return rows_[medium.row][medium.column];
  }

  const MediaWishes& wishes_;
  const MediaRows& rows_;
  const MediumState* first_ = nullptr;  // that holds something
};

Result<MediaPlan> Planner::Plan() {
  bool any_exists = false;
  for (const auto& row : rows_) {
    for (const MediumState& medium : row) {
      any_exists = any_exists || medium.exists;
      if (!medium.failure.ok() && wishes_.use != MediaUse::kFormat) {
        return medium.failure.hint().empty() && medium.failure.reason() == 3242
                   ? Status(medium.failure)
                         .WithHint("back up to another device, or add FORMAT to lose what is on it")
                   : medium.failure;
      }
      if (first_ == nullptr && medium.listing) {
        first_ = &medium;
      }
    }
  }
  if (wishes_.use == MediaUse::kFormat) {
    return PlanNew(true);
  }
  if (first_ != nullptr) {
    return PlanExisting();
  }
  if (rows_.size() > 1) {
    return SqlError(3215);
  }
  return PlanNew(any_exists);
}

Result<MediaPlan> Planner::PlanNew(bool any_exists) const {
  MediaPlan plan{.action = any_exists ? MediumAction::kReplace : MediumAction::kCreate,
                 .position = 1,
                 .compressed = wishes_.compression.value_or(wishes_.compression_default),
                 .families = {}};
  const MediaHeader header{.media_set_id = Guid::Random(),
                           .family_count = static_cast<std::uint16_t>(rows_[0].size()),
                           .mirror_count = static_cast<std::uint16_t>(rows_.size()),
                           .compressed = plan.compressed,
                           .encrypted = wishes_.encryption,
                           .name = wishes_.media_name,
                           .description = wishes_.media_description,
                           .date_unix_s = wishes_.now_unix_s};
  for (std::size_t column = 0; column < rows_[0].size(); ++column) {
    MediaPlan::Family& family = plan.families.emplace_back();
    family.header = header;
    family.header.family_number = static_cast<std::uint16_t>(column + 1);
    family.header.media_family_id = NewFamilyId();
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      family.mirrors.push_back({.row = row, .column = column, .append = {}});
    }
  }
  return plan;
}

Result<MediaPlan> Planner::PlanExisting() {
  for (const auto& row : rows_) {
    for (const MediumState& medium : row) {
      if (medium.listing) {
        CAPSTAN_RETURN_IF_ERROR(CheckMedium(medium));
      }
    }
  }
  CAPSTAN_RETURN_IF_ERROR(CheckFamilyCount());
  const MediaHeader& header = first_->listing->header;
  MediaPlan plan{.action = MediumAction::kReplace,
                 .position = 1,
                 .compressed = header.compressed,
                 .families = std::vector<MediaPlan::Family>(rows_[0].size())};
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    CAPSTAN_RETURN_IF_ERROR(TakeRow(row, &plan));
  }
  CAPSTAN_RETURN_IF_ERROR(CheckMirrors(plan));
  CAPSTAN_RETURN_IF_ERROR(CheckTransforms());
  if (!wishes_.skip) {
    CAPSTAN_RETURN_IF_ERROR(CheckName());
  }
  if (wishes_.use == MediaUse::kAppend) {
    const bool tapes = first_->listing->append && first_->listing->append->form.hard_filemarks;
    if (!tapes) {
      CAPSTAN_RETURN_IF_ERROR(CheckSets(plan));
    }
    CAPSTAN_RETURN_IF_ERROR(PlanAppend(&plan));
    if (tapes) {
      CAPSTAN_RETURN_IF_ERROR(PlanTapes(&plan));
    }
  } else if (!wishes_.skip) {
    CAPSTAN_RETURN_IF_ERROR(CheckExpiry());
  }
  return plan;
}

Status Planner::CheckMedium(const MediumState& medium) const {
  const MediumListing& listing = *medium.listing;
  const MediaHeader& header = listing.header;
  if (header.software_vendor_id == kSqlServerVendorId) {
    return SqlError(65009, medium.target, "Microsoft SQL Server")
        .WithHint("back up to another device, or add FORMAT to lose what is on it");
  }
  if (MediaSetIdOf(header) != MediaSetIdOf(first_->listing->header) ||
      header.family_count != first_->listing->header.family_count) {
    return SqlError(3258, medium.target);
  }
  // The last medium of a family is the one that a tape is appended to.
  const bool on_last =
      wishes_.use == MediaUse::kAppend && listing.append && listing.append->form.hard_filemarks;
  if (header.media_sequence_number != 1 && !on_last) {
    return SqlError(3247, medium.target, header.media_sequence_number, 1);
  }
  return OkStatus();
}

Status Planner::CheckFamilyCount() const {
  const std::size_t expected = first_->listing->header.family_count;
  for (const auto& row : rows_) {
    const auto held = static_cast<std::size_t>(
        std::count_if(row.begin(), row.end(),
                      [](const MediumState& medium) { return medium.listing.has_value(); }));
    const std::string hint = fmt::format(
        "name all {} of its devices and no other, or add FORMAT to make a new media set", expected);
    if (row.size() > expected) {
      return SqlError(3231, first_->target, expected, row.size()).WithHint(hint);
    }
    if (held < expected) {
      return held == 0 && rows_.size() > 1 ? SqlError(3240)
                                           : SqlError(3132, expected, held).WithHint(hint);
    }
  }
  return OkStatus();
}

Status Planner::TakeRow(std::size_t row, MediaPlan* plan) const {
  for (std::size_t column = 0; column < rows_[row].size(); ++column) {
    const MediumState& medium = rows_[row][column];
    const MediaHeader& header = medium.listing->header;
    MediaPlan::Family& family = plan->families[header.family_number - 1U];
    if (!family.mirrors.empty() && family.mirrors.back().row == row) {
      return SqlError(3227, medium.target, header.family_number,
                      StateOf(family.mirrors.back()).target);
    }
    if (family.mirrors.empty()) {
      family.header = header;
      family.header.media_set_id = MediaSetIdOf(medium.listing->header);
      if (medium.listing->foreign && wishes_.use == MediaUse::kOverwrite) {
        // The name stays; who wrote it does not.
        const MediaHeader ours;
        family.header.software_name = ours.software_name;
        family.header.software_vendor_id = ours.software_vendor_id;
      }
    }
    family.mirrors.push_back({.row = row, .column = column, .append = {}});
  }
  return OkStatus();
}

Status Planner::CheckMirrors(const MediaPlan& plan) const {
  const std::size_t mirrors = first_->listing->header.mirror_count;
  if (rows_.size() > mirrors) {
    return SqlError(3215);
  }
  if (rows_.size() < mirrors) {
    return SqlError(3240);
  }
  for (const MediaPlan::Family& family : plan.families) {
    const MediumState& one = StateOf(family.mirrors.front());
    for (const MediaPlan::Medium& mirror : family.mirrors) {
      const MediumState& other = StateOf(mirror);
      const bool alike =
          one.listing->header.media_family_id == other.listing->header.media_family_id &&
          one.listing->append == other.listing->append;
      if (!alike) {
        return SqlError(3210, other.target, one.target);
      }
    }
  }
  return OkStatus();
}

// The families of a set must hold the same sets: one that was put aside and brought back does not.
Status Planner::CheckSets(const MediaPlan& plan) const {
  const auto identities = [&](const MediaPlan::Family& family) {
    std::vector<Guid> guids;
    for (const SetListing& set : StateOf(family.mirrors.front()).listing->sets) {
      if (set.complete) {
        guids.push_back(set.set.backup_set_guid);
      }
    }
    return guids;
  };
  std::size_t newest = 0;
  for (std::size_t i = 1; i < plan.families.size(); ++i) {
    newest =
        identities(plan.families[i]).size() > identities(plan.families[newest]).size() ? i : newest;
  }
  for (const MediaPlan::Family& family : plan.families) {
    if (identities(family) != identities(plan.families[newest])) {
      return SqlError(3232, StateOf(family.mirrors.front()).target, 1, family.header.family_number);
    }
  }
  return OkStatus();
}

Status Planner::CheckName() const {
  const std::string& name = first_->listing->header.name;
  if (wishes_.media_name.empty() || wishes_.media_name == name) {
    return OkStatus();
  }
  return SqlError(4037, wishes_.media_name, name, first_->target)
      .WithHint("leave MEDIANAME out, or add SKIP to go on in spite of the name");
}

Status Planner::CheckExpiry() const {
  for (const auto& row : rows_) {
    for (const MediumState& medium : row) {
      for (const SetListing& set : medium.listing->sets) {
        if (set.set.expiration_unix_s > wishes_.now_unix_s) {
          return SqlError(4030, medium.target, MessageDate(set.set.expiration_unix_s))
              .WithHint("add SKIP to overwrite it before that");
        }
      }
    }
  }
  return OkStatus();
}

Status Planner::CheckTransforms() const {
  const MediaHeader& header = first_->listing->header;
  const bool any_encrypted = std::any_of(first_->listing->sets.begin(), first_->listing->sets.end(),
                                         [](const SetListing& set) { return set.set.encrypted(); });
  const char* const use = wishes_.use == MediaUse::kAppend ? "NOINIT" : "INIT";
  if (wishes_.encryption || header.encrypted || any_encrypted) {
    return wishes_.encryption
               ? SqlError(3095, "ENCRYPTION", "ENCRYPTION")
               : SqlError(3095, use, use)
                     .WithHint(fmt::format("the media set of '{}' is encrypted: every backup to it "
                                           "begins a new one",
                                           first_->target));
  }
  if (wishes_.compression && *wishes_.compression != header.compressed) {
    const char* const wanted = *wishes_.compression ? "COMPRESSION" : "NO_COMPRESSION";
    const char* const other = *wishes_.compression ? "NO_COMPRESSION" : "COMPRESSION";
    return SqlError(3098, wanted, wanted, other);
  }
  return OkStatus();
}

Status Planner::PlanAppend(MediaPlan* plan) const {
  plan->action = MediumAction::kAppend;
  for (MediaPlan::Family& family : plan->families) {
    for (MediaPlan::Medium& medium : family.mirrors) {
      const MediumState& state = StateOf(medium);
      if (!state.listing->append) {
        return state.listing->tail == MediumTail::kUnknown ? SqlError(3266, state.target)
                                                           : SqlError(3246, state.target);
      }
      medium.append = state.listing->append;
      plan->position = medium.append->position;
      if (medium.append->offset < state.listing->size_bytes) {
        plan->copies_sets = true;
        plan->action = MediumAction::kReplace;
      }
    }
  }
  return OkStatus();
}

// Tapes keep what was written last, and each of a set's is ended by itself: after a crash the set
// that is torn on one may be whole on another. It goes from both.
Status Planner::PlanTapes(MediaPlan* plan) const {
  std::uint16_t position = kSetsMax;
  for (const MediaPlan::Family& family : plan->families) {
    position = std::min(position, family.mirrors.front().append->position);
  }
  plan->position = position;
  std::optional<Guid> last;  // the set in front of the new one, where it ends on the medium
  for (MediaPlan::Family& family : plan->families) {
    CAPSTAN_RETURN_IF_ERROR(PlanTape(position, &family));
    for (const SetListing& set : StateOf(family.mirrors.front()).listing->sets) {
      if (set.set.position + 1 != position) {
        continue;
      }
      if (last && *last != set.set.backup_set_guid) {
        return SqlError(3232, StateOf(family.mirrors.front()).target,
                        family.header.media_sequence_number, family.header.family_number);
      }
      last = set.set.backup_set_guid;
    }
  }
  return OkStatus();
}

Status Planner::PlanTape(std::uint16_t position, MediaPlan::Family* family) const {
  MediaPlan::Medium& medium = family->mirrors.front();
  const MediumListing& listing = *StateOf(medium).listing;
  if (medium.append->position == position) {
    return OkStatus();
  }
  if (!listing.over_last || listing.over_last->position != position ||
      !HasUnfinished(listing.sets.back().set.backup_set_guid)) {
    return SqlError(3232, StateOf(medium).target, family->header.media_sequence_number,
                    family->header.family_number);
  }
  medium.append = listing.over_last;
  return OkStatus();
}

bool Planner::HasUnfinished(const Guid& set) const {
  return std::any_of(rows_[0].begin(), rows_[0].end(), [&](const MediumState& medium) {
    return medium.listing->unfinished_set == set;
  });
}

}  // namespace

Guid MediaSetIdOf(const MediaHeader& header) {
  Guid id = header.media_set_id;
  if (id.is_zero()) {
    for (std::size_t i = 0; i < sizeof(header.media_family_id); ++i) {
      id.bytes[i] = static_cast<std::uint8_t>(header.media_family_id >> (8 * i));
    }
  }
  return id;
}

Status CheckMediaRows(const std::vector<std::vector<std::string>>& rows) {
  if (rows.size() > kMirrorsMax + 1) {
    return SqlError(3214, kMirrorsMax);
  }
  std::size_t devices = 0;
  for (const auto& row : rows) {
    devices += row.size();
    if (row.size() != rows[0].size()) {
      return SqlError(3212, row.front(), rows[0].front())
          .WithHint(fmt::format("each mirror needs as many devices as there are families: {}",
                                rows[0].size()));
    }
  }
  return devices > kFamilyCountMax ? SqlError(3205, kFamilyCountMax) : OkStatus();
}

Result<MediaPlan> PlanMedia(const MediaWishes& wishes, const MediaRows& rows) {
  return Planner(wishes, rows).Plan();
}

}  // namespace capstan::media
