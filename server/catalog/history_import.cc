#include "server/catalog/history_import.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "server/catalog/history.h"
#include "server/catalog/journal.h"
#include "server/catalog/sqlserver_history.h"

namespace capstan::catalog {
namespace {

// A set as one medium tells it; a striped one is told by several.
struct Found {
  const MediumRecord* medium;
  const media::BackupSet* set;
};

struct FoundSqlServer {
  const MediumRecord* medium;
  const SqlServerSet* set;
};

// When a set was made; the position orders sets of one medium that end in the same second.
auto Age(const media::BackupSet& set) {
  return std::tuple(set.finished().earliest_us, set.started().earliest_us, set.position,
                    set.last_lsn);
}

Result<bool> IsKnown(Connection& connection, const Guid& backup_set_guid) {
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement select,
      connection.Prepare("SELECT 1 FROM catalog_backup_set WHERE backup_set_uuid = ?"));
  select.Bind(backup_set_guid.ToString());
  return select.Step();
}

Status Show(Connection& connection, std::int64_t media_set_id, std::int64_t backup_set_id) {
  CAPSTAN_RETURN_IF_ERROR(connection.Run(
      "UPDATE catalog_media_set SET visible = 1 WHERE media_set_id = ?", media_set_id));
  return connection.Run("UPDATE catalog_backup_set SET visible = 1 WHERE backup_set_id = ?",
                        backup_set_id);
}

// Adds the sets that are not known, oldest first, and says in `added` which those were.
Status AddSets(Connection& connection, std::vector<Found> sets, std::set<std::string>* added) {
  std::stable_sort(sets.begin(), sets.end(),
                   [](const Found& a, const Found& b) { return Age(*a.set) < Age(*b.set); });
  for (const auto& [medium, set] : sets) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool known, IsKnown(connection, set->backup_set_guid));
    if (known) {
      continue;
    }
    CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t media_set_id,
                             FindOrInsertMediaSet(connection, medium->header));
    CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t backup_set_id,
                             InsertSet(connection, media_set_id, medium->header, *set));
    CAPSTAN_RETURN_IF_ERROR(Show(connection, media_set_id, backup_set_id));
    added->insert(set->backup_set_guid.ToString());
  }
  return OkStatus();
}

// Likewise those of SQL Server, whose dates are another server's local ones.
Status AddSqlServerSets(Connection& connection, std::vector<FoundSqlServer> sets,
                        std::set<std::string>* added) {
  std::stable_sort(sets.begin(), sets.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.set->facts.facts.finish_date, a.set->position) <
           std::tuple(b.set->facts.facts.finish_date, b.set->position);
  });
  for (const auto& [medium, set] : sets) {
    const Guid& guid = *set->facts.facts.backup_set_guid;
    CAPSTAN_ASSIGN_OR_RETURN(const bool known, IsKnown(connection, guid));
    if (known) {
      continue;
    }
    CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t media_set_id,
                             FindOrInsertMediaSet(connection, medium->header));
    CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t backup_set_id,
                             InsertSqlServerSet(connection, media_set_id, medium->header, *set));
    CAPSTAN_RETURN_IF_ERROR(Show(connection, media_set_id, backup_set_id));
    added->insert(guid.ToString());
  }
  return OkStatus();
}

// The rows of one family's medium and its mirrors.
class FamilyRows {
 public:
  static Result<FamilyRows> Read(Connection& connection, std::int64_t media_set_id,
                                 const media::MediaHeader& header) {
    FamilyRows rows(connection, media_set_id, header);
    CAPSTAN_ASSIGN_OR_RETURN(
        Statement select,
        connection.Prepare("SELECT mirror, physical_device_name FROM catalog_media_family WHERE "
                           "media_set_id = ? AND family_sequence_number = ? AND media_count = ?"));
    select.Bind(media_set_id, header.family_number, header.media_sequence_number);
    for (;;) {
      CAPSTAN_ASSIGN_OR_RETURN(const bool row, select.Step());
      if (!row) {
        return rows;
      }
      rows.places_[select.Integer(0)] = select.Text(1);
    }
  }

  // Gives every medium its row.
  Status Place(const std::vector<const MediumRecord*>& media) {
    std::set<std::int64_t> taken;
    std::vector<const MediumRecord*> homeless;
    for (const MediumRecord* const medium : media) {
      const auto row = std::find_if(places_.begin(), places_.end(), [&](const auto& place) {
        return place.second == medium->target && !taken.contains(place.first);
      });
      if (row == places_.end()) {
        homeless.push_back(medium);
      } else {
        taken.insert(row->first);
        CAPSTAN_RETURN_IF_ERROR(Write(row->first, *medium));
      }
    }
    for (const MediumRecord* const medium : homeless) {
      const std::optional<std::int64_t> mirror = FreeRow(taken);
      if (!mirror.has_value()) {
        break;
      }
      taken.insert(*mirror);
      CAPSTAN_RETURN_IF_ERROR(Write(*mirror, *medium));
    }
    return OkStatus();
  }

 private:
  FamilyRows(Connection& connection, std::int64_t media_set_id, const media::MediaHeader& header)
      : connection_(&connection), media_set_id_(media_set_id), header_(header) {}

  std::optional<std::int64_t> FreeRow(const std::set<std::int64_t>& taken) const {
    const std::int64_t mirrors = std::max<std::int64_t>(header_.mirror_count, 1);
    for (const bool empty : {true, false}) {
      for (std::int64_t mirror = 0; mirror < mirrors; ++mirror) {
        if (!taken.contains(mirror) && places_.contains(mirror) != empty) {
          return mirror;
        }
      }
    }
    return std::nullopt;
  }

  Status Write(std::int64_t mirror, const MediumRecord& medium) const {
    const std::optional<std::int64_t> device_type = DeviceType(medium.device_class);
    if (!device_type.has_value()) {
      return Error(Code::kInvalidArgument, "'{}' is no class of devices", medium.device_class);
    }
    const auto block_size = header_.software_vendor_id == media::kSqlServerVendorId
                                ? std::nullopt
                                : std::optional<std::int64_t>(media::kPhysicalBlock);
    return connection_->Run(
        "INSERT INTO catalog_media_family (media_set_id, family_sequence_number, media_family_id, "
        "media_count, physical_device_name, device_type, physical_block_size, mirror, visible) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET physical_device_name = "
        "excluded.physical_device_name, device_type = excluded.device_type, visible = 1",
        media_set_id_, header_.family_number, FamilyGuid(header_.media_family_id),
        header_.media_sequence_number, medium.target, device_type, block_size, mirror);
  }

  Connection* connection_;
  std::int64_t media_set_id_;
  media::MediaHeader header_;
  std::map<std::int64_t, std::string> places_;  // by mirror
};

// Media without a set that counts leave no trace.
Status PlaceFamilies(Connection& connection, const std::vector<MediumRecord>& media) {
  using Key = std::tuple<std::string, std::uint16_t, std::uint16_t>;
  std::map<Key, std::vector<const MediumRecord*>> families;
  for (const MediumRecord& medium : media) {
    if (!medium.sets.empty() || !medium.sqlserver_sets.empty()) {
      const media::MediaHeader& header = medium.header;
      families[{header.media_set_id.ToString(), header.family_number, header.media_sequence_number}]
          .push_back(&medium);
    }
  }
  for (const auto& [key, mirrors] : families) {
    const media::MediaHeader& header = mirrors.front()->header;
    CAPSTAN_ASSIGN_OR_RETURN(const std::int64_t media_set_id,
                             FindOrInsertMediaSet(connection, header));
    CAPSTAN_ASSIGN_OR_RETURN(FamilyRows rows, FamilyRows::Read(connection, media_set_id, header));
    CAPSTAN_RETURN_IF_ERROR(rows.Place(mirrors));
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<ImportCount>> ImportMedia(Connection& connection,
                                             const std::vector<MediumRecord>& media) {
  std::vector<Found> sets;
  std::vector<FoundSqlServer> sqlserver_sets;
  for (const MediumRecord& medium : media) {
    for (const media::BackupSet& set : medium.sets) {
      sets.push_back({&medium, &set});
    }
    for (const SqlServerSet& set : medium.sqlserver_sets) {
      sqlserver_sets.push_back({&medium, &set});
    }
  }
  std::set<std::string> added;
  CAPSTAN_RETURN_IF_ERROR(AddSets(connection, std::move(sets), &added));
  CAPSTAN_RETURN_IF_ERROR(AddSqlServerSets(connection, std::move(sqlserver_sets), &added));
  CAPSTAN_RETURN_IF_ERROR(PlaceFamilies(connection, media));
  std::vector<ImportCount> counts;
  for (const MediumRecord& medium : media) {
    ImportCount& count = counts.emplace_back();
    // The first medium of a striped set counts it as added.
    const auto note = [&](const Guid& guid) {
      ++(added.erase(guid.ToString()) != 0 ? count.added : count.known);
    };
    for (const media::BackupSet& set : medium.sets) {
      note(set.backup_set_guid);
    }
    for (const SqlServerSet& set : medium.sqlserver_sets) {
      note(*set.facts.facts.backup_set_guid);
    }
  }
  return counts;
}

}  // namespace capstan::catalog
