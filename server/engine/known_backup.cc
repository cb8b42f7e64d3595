#include "server/engine/known_backup.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "server/media/set_digest.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

using Rows = std::vector<std::vector<std::optional<std::string>>>;

Rows AskCatalog(catalog::Catalog& catalog, const std::string& select) {
  auto table = catalog.Query(select, {});
  if (!table.ok()) {
    CAPSTAN_LOG(kWarning, "the catalog cannot be asked: {}", table.status().message());
    return {};
  }
  return std::move(table->rows);
}

std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c;
    if (c == '\'') {
      quoted += c;
    }
  }
  return quoted + "'";
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string Uuid(const media::BackupSet& set) {
  return Quoted(set.backup_set_guid.ToString());
}

std::vector<std::string> OtherPlaces(catalog::Catalog& catalog, const media::BackupSet& set,
                                     const std::vector<std::string>& targets) {
  const Rows families = AskCatalog(
      catalog,
      "SELECT family.physical_device_name FROM msdb_dbo_backupset AS kept JOIN "
      "msdb_dbo_backupmediafamily AS family ON family.media_set_id = kept.media_set_id WHERE "
      "kept.backup_set_uuid = " +
          Uuid(set) + " ORDER BY family.mirror, family.family_sequence_number");
  std::vector<std::string> others;
  for (const auto& row : families) {
    const std::string name = row[0].value_or("");
    if (!name.empty() && !Contains(targets, name) && !Contains(others, name)) {
      others.push_back(name);
    }
  }
  return others;
}

// A sentence for a hint, or nothing.
std::string OtherCopies(catalog::Catalog& catalog, const media::BackupSet& set,
                        const std::vector<std::string>& targets) {
  std::string sentence;
  const std::vector<std::string> others = OtherPlaces(catalog, set, targets);
  if (!others.empty()) {
    sentence = fmt::format("other copies of its families: '{}'", fmt::join(others, "', '"));
  }
  const Rows newer = AskCatalog(
      catalog,
      fmt::format("SELECT kept.backup_finish_date, kept.position, family.physical_device_name "
                  "FROM msdb_dbo_backupset AS kept JOIN msdb_dbo_backupmediafamily AS family ON "
                  "family.media_set_id = kept.media_set_id WHERE kept.database_name = {} AND "
                  "kept.type = 'D' AND kept.software_vendor_id <> 4608 AND kept.backup_set_uuid "
                  "<> {} AND kept.backup_finish_date >= "
                  "(SELECT backup_finish_date FROM msdb_dbo_backupset WHERE backup_set_uuid = {}) "
                  "ORDER BY kept.backup_set_id DESC LIMIT 1",
                  Quoted(set.database_name), Uuid(set), Uuid(set)));
  if (!newer.empty()) {
    sentence +=
        fmt::format("{}a later backup of '{}' of {}: file {} on '{}'", sentence.empty() ? "" : "; ",
                    set.database_name, newer[0][0].value_or("?"), newer[0][1].value_or("?"),
                    newer[0][2].value_or("?"));
  }
  return sentence;
}

}  // namespace

Status CheckDigest(catalog::Catalog& catalog, const ReadSet& read) {
  const media::BackupSet& set = read.set;
  if (set.is_snapshot) {
    return OkStatus();  // no frame of it is on a medium
  }
  const std::string found = media::PrintDigest(read.digest);
  const std::string devices = fmt::format("{}", fmt::join(read.targets, "', '"));
  if (!set.digest.empty() && set.digest != read.digest) {
    return SqlError(3189).WithHint(
        fmt::format("the frames on '{}' have the digest {}, the end of the set tells of frames "
                    "with the digest {}; use another copy of it",
                    devices, found, media::PrintDigest(set.digest)));
  }
  const Rows rows =
      AskCatalog(catalog,
                 "SELECT backup_set_digest, backup_finish_date FROM msdb_dbo_backupset WHERE "
                 "backup_set_uuid = " +
                     Uuid(set));
  if (rows.empty() || rows[0][0].value_or(found) == found) {
    return OkStatus();
  }
  return SqlError(65023, read.file_number, devices, found, *rows[0][0])
      .WithHint(fmt::format(
          "a medium was replaced by another one that names the same backup set, {} of '{}', "
          "finished {}; find the medium of that backup; to use what is there all the same, RESTORE "
          "it WITH CONTINUE_AFTER_ERROR",
          set.backup_set_guid.ToString(), set.database_name, rows[0][1].value_or("?")));
}

std::string DifferencesToCatalog(catalog::Catalog& catalog, const media::BackupSet& set) {
  const Rows rows = AskCatalog(
      catalog, "SELECT backup_size FROM msdb_dbo_backupset WHERE backup_set_uuid = " + Uuid(set));
  const std::string size = std::to_string(set.backup_size_bytes);
  if (rows.empty() || rows[0][0].value_or(size) == size) {
    return "";
  }
  return fmt::format("{} bytes there, {} bytes here", *rows[0][0], size);
}

Status WithOtherCopies(Status failure, catalog::Catalog& catalog, const media::BackupSet& set,
                       const std::vector<std::string>& targets) {
  if (failure.code() != Code::kDataLoss) {
    return failure;
  }
  const std::string copies = OtherCopies(catalog, set, targets);
  if (copies.empty()) {
    return failure;
  }
  const std::string hint(failure.hint());
  return std::move(failure).WithHint(hint.empty() ? copies : hint + "; " + copies);
}

}  // namespace capstan::engine
