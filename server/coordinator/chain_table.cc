#include "server/coordinator/chain_table.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
#include "vdi/base/check.h"

namespace capstan::coordinator {
namespace {

namespace fs = std::filesystem;
using catalog::KnownSet;

constexpr double kSecond = 1e6;  // microseconds

// From the time that its full backups took, since of small ones most went into beginning and end;
// from that of all where none of them took any.
double RateOf(std::span<const KnownSet> history) {
  for (const bool all : {false, true}) {
    double bytes = 0;
    double seconds = 0;
    for (const KnownSet& known : history) {
      const media::BackupSet& set = known.set;
      const std::int64_t took_us = set.finished().earliest_us - set.started().earliest_us;
      if (took_us > 0 && !set.is_snapshot && (all || set.kind == media::SetKind::kDatabase)) {
        bytes += static_cast<double>(set.backup_size_bytes);
        seconds += static_cast<double>(took_us) / kSecond;
      }
    }
    if (seconds > 0) {
      return bytes / seconds;
    }
  }
  return 0;
}

// Free where `path` is or would be; nullopt if that cannot be told.
std::optional<std::uint64_t> FreeAt(fs::path path) {
  while (true) {
    std::error_code error;
    const fs::space_info space = fs::space(path, error);
    if (!error) {
      return space.available;
    }
    if (path == path.parent_path()) {
      return std::nullopt;
    }
    path = path.parent_path();
  }
}

struct Placement {
  std::string paths;  // with commas between
  std::optional<std::uint64_t> free_bytes;
};

Placement PlacementOf(const std::vector<writers::RestoreTarget>& targets) {
  std::vector<std::string> paths;
  Placement placement;
  for (const writers::RestoreTarget& target : targets) {
    if (std::find(paths.begin(), paths.end(), target.physical_name) != paths.end()) {
      continue;
    }
    paths.push_back(target.physical_name);
    if (const auto free = FreeAt(target.physical_name); free.has_value()) {
      placement.free_bytes = std::min(placement.free_bytes.value_or(*free), *free);
    }
  }
  placement.paths = fmt::format("{}", fmt::join(paths, ", "));
  return placement;
}

std::string KeyText(const media::BackupSet& set) {
  if (!set.encrypted()) {
    return "none";
  }
  return set.encryption.encryptor_type == "PASSPHRASE" ? "passphrase" : "certificate present";
}

}  // namespace

std::string_view KindName(media::SetKind kind) {
  switch (kind) {
    case media::SetKind::kDatabase:
      return "full";
    case media::SetKind::kDifferential:
      return "differential";
    case media::SetKind::kLog:
      return "log";
  }
  CAPSTAN_CHECK(false);
}

ChainTable::ChainTable(ChainMedia& media, std::span<const KnownSet> history)
    : media_(media), bytes_per_second_(RateOf(history)) {
  table_.columns = {{"step", "int"},
                    {"type", "nvarchar(60)"},
                    {"backup_set_uuid", "uniqueidentifier"},
                    {"position", "int"},
                    {"first_lsn", "numeric(25,0)"},
                    {"last_lsn", "numeric(25,0)"},
                    {"backup_finish_date", "datetime"},
                    {"media", "nvarchar(max)"},
                    {"key", "nvarchar(60)"},
                    {"size_bytes", "bigint"},
                    {"target", "nvarchar(max)"},
                    {"free_bytes", "bigint"},
                    {"predicted_seconds", "int"}};
}

void ChainTable::Add(const KnownSet& known, const std::vector<writers::RestoreTarget>& targets) {
  const media::BackupSet& set = known.set;
  const Placement placement = PlacementOf(targets);
  bytes_ += set.backup_size_bytes;
  const auto bytes = static_cast<double>(set.backup_size_bytes);
  using Cell = std::optional<std::string>;
  table_.rows.push_back(
      {fmt::to_string(table_.rows.size() + 1), std::string(KindName(set.kind)),
       set.backup_set_guid.ToString(), fmt::to_string(media_.SourceOf(known).position),
       fmt::to_string(set.first_lsn), fmt::to_string(set.last_lsn),
       catalog::LocalDateTime(set.finish_unix_s), media_.PlacesText(known), KeyText(set),
       fmt::to_string(set.backup_size_bytes), placement.paths,
       placement.free_bytes ? Cell(fmt::to_string(*placement.free_bytes)) : Cell(),
       bytes_per_second_ > 0
           ? Cell(fmt::to_string(static_cast<std::int64_t>(std::ceil(bytes / bytes_per_second_))))
           : Cell()});
}

std::string ChainTable::Summary() const {
  const auto bytes = static_cast<double>(bytes_);
  std::string text =
      fmt::format("{} {} {:.1f} MiB", table_.rows.size(),
                  table_.rows.size() == 1 ? "step reads" : "steps read", bytes / (1 << 20));
  if (bytes_per_second_ > 0) {
    text += fmt::format(", in about {:.0f} seconds", std::ceil(bytes / bytes_per_second_));
  }
  return text + ".";
}

}  // namespace capstan::coordinator
