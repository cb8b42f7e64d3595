#include "server/coordinator/history_loader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "server/media/media_plan.h"
#include "server/messages/messages.h"

namespace capstan::coordinator {
namespace {

namespace fs = std::filesystem;

// How media begin: the TAPE block of MTF, and SQL Server's container of compressed backups.
constexpr std::string_view kMagics[] = {"TAPE", "MSSQLBAK"};

// A file that cannot be read may be a medium: whoever reads it next says why.
bool MayBeMedium(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 8> begin{};
  if (!file) {
    return true;
  }
  file.read(begin.data(), begin.size());
  const std::string_view found(begin.data(), static_cast<std::size_t>(file.gcount()));
  return std::any_of(std::begin(kMagics), std::end(kMagics),
                     [&](std::string_view magic) { return found.starts_with(magic); });
}

struct Summary {
  int incomplete = 0;
  int foreign = 0;
};

// Whether history keeps a set of another program: of SQL Server's, what a password does not hide.
bool IsKept(const media::ForeignSet& set) {
  return set.by_sql_server && !set.password_protected && set.facts.backup_set_guid.has_value();
}

// The sets that history keeps.
catalog::MediumRecord RecordOf(const engine::TransferRequest& request,
                               const media::MediumListing& listing, Summary* summary) {
  catalog::MediumRecord record{.device_class = request.device_class,
                               .target = request.targets.front(),
                               .header = listing.header};
  record.header.media_set_id = media::MediaSetIdOf(listing.header);
  for (const media::SetListing& set : listing.sets) {
    if (set.foreign && !(set.foreign_set && IsKept(*set.foreign_set))) {
      ++summary->foreign;
    } else if (!set.complete) {
      ++summary->incomplete;
    } else if (set.foreign) {
      record.sqlserver_sets.push_back({.position = set.set.position, .facts = *set.foreign_set});
    } else {
      record.sets.push_back(set.set);
    }
  }
  return record;
}

std::string MessageOf(const Summary& summary) {
  std::string text;
  if (summary.incomplete > 0) {
    text = fmt::format("{} incomplete", summary.incomplete);
  }
  if (summary.foreign > 0) {
    text += fmt::format("{}{} of other programs", text.empty() ? "" : ", ", summary.foreign);
  }
  return text;
}

using Row = std::vector<std::optional<std::string>>;

// A medium that could not be read.
Row FailedRow(const std::string& name, const Status& status) {
  const bool damaged = status.code() == Code::kDataLoss;
  return {name, damaged ? "damaged" : "not read", std::nullopt, std::nullopt, "0",
          "0",  std::string(status.message())};
}

Row LoadedRow(const catalog::MediumRecord& medium, const Summary& summary) {
  const std::string message = MessageOf(summary);
  return {medium.target,
          "known",
          medium.header.media_set_id.ToString(),
          fmt::to_string(medium.header.family_number),
          "0",
          "0",
          message.empty() ? std::nullopt : std::optional(message)};
}

catalog::Table EmptyTable() {
  catalog::Table table;
  table.columns = {{"path", "nvarchar(260)"},
                   {"status", "nvarchar(60)"},
                   {"media_set_id", "uniqueidentifier"},
                   {"family_sequence_number", "tinyint"},
                   {"sets_added", "int"},
                   {"sets_known", "int"},
                   {"message", "nvarchar(4000)"}};
  return table;
}
constexpr std::size_t kStatusColumn = 1;
constexpr std::size_t kAddedColumn = 4;
constexpr std::size_t kKnownColumn = 5;

}  // namespace

Status HistoryLoader::LoadDevices(const engine::TransferRequest& media) {
  std::vector<catalog::MediumRecord> records;
  for (const std::string& target : media.targets) {
    engine::TransferRequest request = media;
    request.targets = {target};
    CAPSTAN_ASSIGN_OR_RETURN(const media::MediumListing listing, engine_.List(request));
    Summary summary;
    records.push_back(RecordOf(request, listing, &summary));
  }
  return engine_.parts().catalog.ImportHistory(records).status();
}

// Names as a statement would give them: below a Windows path they are Windows paths.
Result<std::vector<std::string>> HistoryLoader::FindMedia(const std::string& path) const {
  auto mapped = drives_.Map(path);
  if (!mapped.ok()) {
    return SqlError(3201, path, kPathNotFound).WithHint(std::string(mapped.status().hint()));
  }
  const fs::path root(*mapped);
  std::error_code error;
  const fs::file_status status = fs::status(root, error);
  if (error && error.value() != ENOENT) {
    return SqlError(3201, path, OsErrorText(error.value())).WithOsError(error.value());
  }
  if (!fs::is_directory(status)) {
    return std::vector{path};
  }
  std::vector<std::string> names;
  fs::recursive_directory_iterator at(root, fs::directory_options::skip_permission_denied, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code ignored;  // a file that vanishes meanwhile is no medium
    if (!at->is_regular_file(ignored) || !MayBeMedium(at->path())) {
      continue;
    }
    std::string below = at->path().lexically_relative(root).string();
    if (*mapped == path) {
      names.push_back((root / below).string());
    } else {
      std::replace(below.begin(), below.end(), '/', '\\');
      names.push_back(path + (path.ends_with('\\') ? "" : "\\") + below);
    }
  }
  if (error) {
    return SqlError(3201, path, OsErrorText(error.value())).WithOsError(error.value());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<catalog::Table> HistoryLoader::LoadPaths(const std::vector<std::string>& paths,
                                                const std::function<bool()>& stop) {
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::vector<std::string> found, FindMedia(path));
    for (const std::string& name : found) {
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        names.push_back(name);
      }
    }
  }
  catalog::Table table = EmptyTable();
  std::vector<catalog::MediumRecord> media;
  std::vector<std::size_t> row_of;  // of each medium
  for (const std::string& name : names) {
    if (stop()) {
      return SqlError(3204);
    }
    engine::TransferRequest request = session_;
    request.device_class = "DISK";
    request.targets = {name};
    const auto listing = engine_.List(request);
    if (!listing.ok()) {
      if (listing.status().code() == Code::kCancelled) {
        return listing.status();
      }
      table.rows.push_back(FailedRow(name, listing.status()));
      continue;
    }
    Summary summary;
    media.push_back(RecordOf(request, *listing, &summary));
    row_of.push_back(table.rows.size());
    table.rows.push_back(LoadedRow(media.back(), summary));
  }
  CAPSTAN_ASSIGN_OR_RETURN(const auto counts, engine_.parts().catalog.ImportHistory(media));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    Row& row = table.rows[row_of[i]];
    row[kAddedColumn] = fmt::to_string(counts[i].added);
    row[kKnownColumn] = fmt::to_string(counts[i].known);
    if (counts[i].added > 0) {
      row[kStatusColumn] = "loaded";
    } else if (counts[i].known == 0) {
      row[kStatusColumn] = "without a set";
    }
  }
  return table;
}

}  // namespace capstan::coordinator
