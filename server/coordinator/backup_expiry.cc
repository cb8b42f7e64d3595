#include "server/coordinator/backup_expiry.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <set>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
#include "server/coordinator/chain_table.h"
#include "server/messages/messages.h"

namespace capstan::coordinator {
namespace {

using catalog::KnownSet;
using engine::RetentionVerdict;

// Of sets that expired in earlier runs, so many are looked at again.
constexpr std::size_t kLeftOverMax = 1000;
constexpr std::chrono::seconds kRemovePatience{60};  // for one medium

bool Holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string PlacesOf(const KnownSet& known) {
  std::string text;
  for (const KnownSet::Place& place : known.places) {
    text += (text.empty() ? "" : ", ") + place.target;
  }
  return text;
}

catalog::Table TableOf(const std::vector<KnownSet>& sets,
                       const std::vector<RetentionVerdict>& verdicts,
                       const std::vector<std::string>& databases) {
  catalog::Table table;
  table.columns = {{"database_name", "nvarchar(128)"}, {"type", "nvarchar(60)"},
                   {"backup_finish_date", "datetime"}, {"backup_set_uuid", "uniqueidentifier"},
                   {"backup_size", "bigint"},          {"media", "nvarchar(max)"},
                   {"action", "nvarchar(60)"},         {"reason", "nvarchar(4000)"}};
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const media::BackupSet& set = sets[i].set;
    if (Holds(databases, set.database_name)) {
      table.rows.push_back({set.database_name, std::string(KindName(set.kind)),
                            catalog::LocalDateTime(set.finish_unix_s),
                            set.backup_set_guid.ToString(), fmt::to_string(set.backup_size_bytes),
                            PlacesOf(sets[i]), verdicts[i].goes ? "REMOVE" : "KEEP",
                            verdicts[i].reason});
    }
  }
  return table;
}

}  // namespace

BackupExpiry::BackupExpiry(Parts parts, engine::TransferRequest session)
    : parts_(parts),
      session_(session),
      media_({.list = parts.list, .has_key = parts.has_key, .has_passphrase = true},
             std::move(session)) {}

Result<std::vector<std::string>> BackupExpiry::DatabasesOfHistory() {
  CAPSTAN_ASSIGN_OR_RETURN(
      const catalog::Table names,
      parts_.catalog.Query(
          "SELECT DISTINCT database_name FROM msdb_dbo_backupset ORDER BY database_name", {}));
  std::vector<std::string> databases;
  for (const auto& row : names.rows) {
    if (row.front().has_value()) {
      databases.push_back(*row.front());
    }
  }
  return databases;
}

std::string BackupExpiry::Pinned(const KnownSet& known) {
  if (known.set.is_snapshot) {
    return "its files are in a snapshot, which is for its own client to remove";
  }
  for (const KnownSet::Place& place : known.places) {
    if (place.device_class == "TAPE") {
      return "it is on a tape, which is not removed but written over";
    }
    if (place.device_class == "VIRTUAL_DEVICE") {
      return "it is on a virtual device, whose program looks after it";
    }
  }
  return "";
}

// Sets of all databases, because media may hold those of several.
Status BackupExpiry::Collect(const std::vector<std::string>& databases) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<std::string> all, DatabasesOfHistory());
  for (const std::string& name : databases) {
    if (!Holds(all, name)) {
      return SqlError(911, name).WithHint("the history knows no backup of it");
    }
  }
  for (const std::string& name : all) {
    CAPSTAN_ASSIGN_OR_RETURN(std::vector<KnownSet> sets, parts_.catalog.SetsOf(name));
    for (KnownSet& known : sets) {
      (known.expired ? expired_ : sets_).push_back(std::move(known));
    }
  }
  for (const KnownSet& known : sets_) {
    engine::RetentionCandidate candidate{.known = &known, .pinned = Pinned(known)};
    if (!Holds(databases, known.set.database_name)) {
      candidate.pinned = "its database was not named";
    } else if (known.set.kind == media::SetKind::kDatabase) {
      candidate.usable = !known.set.is_damaged && !known.set.is_snapshot &&
                         media_.Probe(known) == engine::SetObstacle::kNone;
    }
    candidates_.push_back(std::move(candidate));
  }
  return OkStatus();
}

std::string BackupExpiry::ObstacleOf(const Medium& medium, const std::vector<Guid>& going) {
  engine::TransferRequest request = session_;
  request.device_class = medium.first;
  request.targets = {medium.second};
  const auto listing = parts_.list(request);
  if (!listing.ok()) {
    return listing.status().os_error() == ENOENT
               ? ""
               : fmt::format("'{}' cannot be looked at: {}", medium.second,
                             listing.status().message());
  }
  for (const media::SetListing& set : listing->sets) {
    if (std::find(going.begin(), going.end(), set.set.backup_set_guid) == going.end()) {
      return fmt::format("'{}' also holds a backup that the history does not know", medium.second);
    }
  }
  return "";
}

std::vector<RetentionVerdict> BackupExpiry::Decide(const engine::RetentionPolicy& policy) {
  std::set<Medium> looked_at;
  while (true) {
    std::vector<RetentionVerdict> verdicts = DecideRetention(candidates_, policy);
    std::vector<Guid> going;
    for (std::size_t i = 0; i < sets_.size(); ++i) {
      if (verdicts[i].goes) {
        going.push_back(sets_[i].set.backup_set_guid);
      }
    }
    for (const KnownSet& known : expired_) {  // what a medium held of earlier runs
      going.push_back(known.set.backup_set_guid);
    }
    bool pinned = false;
    for (std::size_t i = 0; i < sets_.size(); ++i) {
      for (const KnownSet::Place& place : sets_[i].places) {
        const bool asks = verdicts[i].goes && candidates_[i].pinned.empty() &&
                          looked_at.emplace(place.device_class, place.target).second;
        if (!asks) {
          continue;
        }
        candidates_[i].pinned = ObstacleOf({place.device_class, place.target}, going);
        pinned = pinned || !candidates_[i].pinned.empty();
      }
    }
    if (!pinned) {
      return verdicts;
    }
  }
}

Status BackupExpiry::RemoveAll(const std::vector<Medium>& media) {
  Status first = OkStatus();
  for (const auto& [device_class, target] : std::set<Medium>(media.begin(), media.end())) {
    const Status removed = parts_.remove(device_class, target);
    if (!removed.ok() && first.ok()) {
      first = SqlError(65055, target, removed.message())
                  .WithHint("nothing counts on it any more; the next run tries it again");
    }
  }
  return first;
}

// Media of sets that expired before and whose removal was cut short. A medium under the same name
// that holds anything else is not touched.
std::vector<BackupExpiry::Medium> BackupExpiry::LeftOver(
    const std::vector<std::string>& databases) {
  std::set<Medium> used;
  for (const KnownSet& known : sets_) {
    for (const KnownSet::Place& place : known.places) {
      used.emplace(place.device_class, place.target);
    }
  }
  std::vector<Guid> gone;
  for (const KnownSet& known : expired_) {
    gone.push_back(known.set.backup_set_guid);
  }
  std::vector<Medium> left;
  std::size_t looked_at = 0;
  for (auto known = expired_.rbegin(); known != expired_.rend(); ++known) {
    if (!Holds(databases, known->set.database_name) || ++looked_at > kLeftOverMax) {
      continue;
    }
    for (const KnownSet::Place& place : known->places) {
      const Medium medium(place.device_class, place.target);
      const bool removable = Pinned(*known).empty() && !used.contains(medium);
      if (removable && media_.Probe(*known) != engine::SetObstacle::kMediaMissing &&
          ObstacleOf(medium, gone).empty()) {
        left.push_back(medium);
      }
    }
  }
  return left;
}

Result<BackupExpiry::Outcome> BackupExpiry::Run(const engine::RetentionPolicy& policy,
                                                std::vector<std::string> databases, bool dry_run) {
  if (databases.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(databases, DatabasesOfHistory());
  }
  CAPSTAN_RETURN_IF_ERROR(Collect(databases));
  const std::vector<RetentionVerdict> verdicts = Decide(policy);
  Outcome outcome{.table = TableOf(sets_, verdicts, databases), .status = OkStatus()};
  if (dry_run) {
    return outcome;
  }
  std::vector<Guid> going;
  std::vector<Medium> media = LeftOver(databases);
  for (std::size_t i = 0; i < sets_.size(); ++i) {
    if (verdicts[i].goes) {
      going.push_back(sets_[i].set.backup_set_guid);
      for (const KnownSet::Place& place : sets_[i].places) {
        media.emplace_back(place.device_class, place.target);
      }
    }
  }
  if (!going.empty()) {
    CAPSTAN_RETURN_IF_ERROR(parts_.catalog.ExpireSets(going));
  }
  outcome.status = RemoveAll(media);
  return outcome;
}

Result<BackupExpiry::Outcome> ExpireBackups(engine::Engine& engine,
                                            const tsql::ExpireStatement& expire,
                                            engine::TransferRequest session,
                                            std::int64_t now_unix_s) {
  const engine::Engine::Parts& parts = engine.parts();
  BackupExpiry expiry(
      {.catalog = parts.catalog,
       .list = [&](const engine::TransferRequest& medium) { return engine.List(medium); },
       .remove =
           [&](const std::string& device_class, const std::string& target) {
             return parts.devices.Remove(device_class, {.name = target},
                                         Deadline::After(kRemovePatience));
           },
       .has_key =
           [&](const std::string& thumbprint) {
             return parts.certificates != nullptr &&
                    parts.certificates->FindByThumbprint(thumbprint).ok();
           }},
      std::move(session));
  return expiry.Run({.keep_full = expire.keep_full.value_or(0),
                     .keep_days = expire.keep_days.value_or(0),
                     .now_unix_s = now_unix_s},
                    expire.databases, expire.dry_run);
}

}  // namespace capstan::coordinator
