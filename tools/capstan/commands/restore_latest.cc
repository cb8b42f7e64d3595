// restore --latest: the newest backup of a database, from those of its copies that can be read.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/row_reader.h"
#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

// A media family: the first medium of each mirror, of which one is read.
struct Family {
  std::vector<Target> copies;
  std::size_t chosen = 0;

  const Target& source() const { return copies[chosen]; }
  bool has_another() const { return chosen + 1 < copies.size(); }
};

struct NewestSet {
  std::string id;
  std::uint64_t position = 1;
};

std::optional<TargetClass> ClassOfDeviceType(std::optional<std::uint64_t> device_type) {
  switch (device_type.value_or(0)) {
    case 2:
      return TargetClass::kDisk;
    case 5:
      return TargetClass::kTape;
    case 9:
      return TargetClass::kUrl;
    default:
      return std::nullopt;  // among them the virtual device of a program that is gone
  }
}

// In the order of the families, each with its mirrors in theirs.
Result<std::vector<Family>> FamiliesOf(const ResultSet& devices) {
  std::vector<Family> families;
  std::string number;
  std::string medium;
  for (const Row& row : devices.rows) {
    const RowReader reader(devices, row);
    if (families.empty() || reader.Text("family_sequence_number") != number) {
      number = reader.Text("family_sequence_number");
      medium = reader.Text("media_count");
      families.emplace_back();
    } else if (reader.Text("media_count") != medium) {
      continue;  // a later medium of the same family: who reads the first one asks for it
    }
    const auto target_class = ClassOfDeviceType(reader.Unsigned("device_type"));
    if (!target_class.has_value()) {
      return Error(Code::kInvalidArgument, "'{}' is a device that cannot be opened by its name",
                   reader.Text("physical_device_name"))
          .WithHint("start the program that serves it, and say --from vdi:NAME");
    }
    families.back().copies.push_back({*target_class, reader.Text("physical_device_name")});
  }
  if (families.empty()) {
    return Error(Code::kInternal, "the server does not know where the backup is");
  }
  return families;
}

struct Look {
  ExitStatus status = ExitStatus::kDone;  // kDone too if the copy cannot be read
  std::string obstacle;                   // what keeps the set from being read; may be empty
};

// As far as the copy's headers tell.
Look LookAt(Session& session, const Target& copy, const NewestSet& set) {
  std::string error;
  const QueryResult headers = TryQuery(session, HeaderStatement(copy), error);
  if (headers.status != ExitStatus::kDone) {
    return error.empty() ? Look{headers.status, ""} : Look{ExitStatus::kDone, std::move(error)};
  }
  const ResultSet& sets = headers.result_sets.front();
  const bool holds_it = std::any_of(sets.rows.begin(), sets.rows.end(), [&](const Row& row) {
    const RowReader reader(sets, row);
    return reader.Unsigned("Position") == set.position && reader.Text("BackupSetGUID") == set.id;
  });
  return {ExitStatus::kDone, holds_it ? "" : "It does not hold this backup any more."};
}

void Reject(Session& session, const Family& family, const std::string& why) {
  session.console.Out(Printable(fmt::format("'{}' cannot be used: {}", family.source().name, why)) +
                      "\n");
}

void TakeMirror(Session& session, Family& family) {
  ++family.chosen;
  session.console.Out(Printable(fmt::format("Taking its mirror '{}'.", family.source().name)) +
                      "\n");
}

// Moves every family with mirrors to its first copy that holds the set; to the first one if none
// does, so that the restore says why.
ExitStatus ChooseCopies(Session& session, std::vector<Family>& families, const NewestSet& set) {
  for (Family& family : families) {
    while (family.copies.size() > 1) {
      const Look look = LookAt(session, family.source(), set);
      if (look.status != ExitStatus::kDone) {
        return look.status;
      }
      if (look.obstacle.empty()) {
        break;
      }
      Reject(session, family, look.obstacle);
      if (!family.has_another()) {
        family.chosen = 0;
        break;
      }
      TakeMirror(session, family);
    }
  }
  return ExitStatus::kDone;
}

// The family of which a failed restore speaks and that has a mirror left; null if there is none.
Family* FamilyToReplace(std::vector<Family>& families, const std::vector<ServerMessage>& errors) {
  for (const ServerMessage& error : errors) {
    for (Family& family : families) {
      const std::string& name = family.source().name;
      const bool named = error.text.find(fmt::format("'{}'", name)) != std::string::npos ||
                         error.text.find(fmt::format("\"{}\"", name)) != std::string::npos;
      if (named && family.has_another()) {
        return &family;
      }
    }
  }
  return nullptr;
}

std::vector<Target> SourcesOf(const std::vector<Family>& families) {
  std::vector<Target> sources;
  for (const Family& family : families) {
    sources.push_back(family.source());
  }
  return sources;
}

// A restore that fails has changed nothing, so it may be tried again from other copies.
ExitStatus RestoreFromAnyCopy(Session& session, const RestoreOptions& options,
                              std::vector<Family>& families,
                              const std::optional<std::string>& single_file_path) {
  while (true) {
    RestoreOptions attempt = options;
    attempt.sources = SourcesOf(families);
    std::vector<ServerMessage> errors;
    const ExitStatus status = RunRestore(session, std::move(attempt), single_file_path, &errors);
    Family* const family =
        status == ExitStatus::kFailed ? FamilyToReplace(families, errors) : nullptr;
    if (family == nullptr) {
      return status;
    }
    Reject(session, *family, "The restore from it failed.");
    TakeMirror(session, *family);
  }
}

}  // namespace

ExitStatus RunRestoreLatest(Session& session, RestoreOptions options, const std::string& database,
                            const std::optional<std::string>& single_file_path) {
  const QueryResult newest = Query(session, NewestSetStatement(database));
  if (newest.status != ExitStatus::kDone) {
    return newest.status;
  }
  const ResultSet& sets = newest.result_sets.front();
  if (sets.rows.empty()) {
    return ReportFailure(
        session.console,
        Error(Code::kNotFound, "the server's history has no backup of '{}'", database)
            .WithHint("'capstan history' lists what it has; 'capstan catalog rebuild' adds media"));
  }
  const RowReader row(sets, sets.rows.front());
  const QueryResult devices = Query(session, HistoryDevicesStatement({row.Text("media_set_id")}));
  if (devices.status != ExitStatus::kDone) {
    return devices.status;
  }
  Result<std::vector<Family>> families = FamiliesOf(devices.result_sets.front());
  if (!families.ok()) {
    return ReportFailure(session.console, families.status());
  }
  const NewestSet set{.id = row.Text("backup_set_uuid"),
                      .position = row.Unsigned("position").value_or(1)};
  options.file_number = static_cast<int>(set.position);
  const ExitStatus chosen = ChooseCopies(session, *families, set);
  if (chosen != ExitStatus::kDone) {
    return chosen;
  }
  std::string places;
  for (const Family& family : *families) {
    places += fmt::format("{}{}", places.empty() ? "" : ", ", family.source().name);
  }
  session.console.Out(
      Printable(fmt::format("The newest backup of '{}' finished {}: file {} on {}", database,
                            row.Text("backup_finish_date"), set.position, places)) +
      "\n");
  return RestoreFromAnyCopy(session, options, *families, single_file_path);
}

}  // namespace capstan::cli
