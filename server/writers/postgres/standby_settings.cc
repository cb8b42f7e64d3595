#include "server/writers/postgres/standby_settings.h"

#include <fstream>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "server/writers/postgres/wal_format.h"

namespace capstan::writers {
namespace {

constexpr std::string_view kBegin = "# Capstan: begin of a restore with standby\n";
constexpr std::string_view kEnd = "# Capstan: end of a restore with standby\n";

std::string SettingsPath(const std::string& data_directory) {
  return data_directory + "/postgresql.auto.conf";
}

std::string SignalPath(const std::string& data_directory) {
  return data_directory + "/standby.signal";
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A value of a setting, in its quotes.
std::string Quoted(std::string_view value) {
  std::string quoted = "'";
  for (const char c : value) {
    quoted += c;
    if (c == '\'' || c == '\\') {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string StandbyLines(const std::string& data_directory, const RecoveryTarget& target) {
  const std::string folder = QuoteForRestoreCommand(StandbyLogFolder(data_directory));
  std::string lines(kBegin);
  lines += fmt::format("restore_command = {}\n", Quoted(fmt::format("cp {}/%f \"%p\"", folder)));
  lines += "recovery_target_timeline = 'latest'\n";
  if (target.kind != RecoveryTarget::Kind::kEndOfLog) {
    lines += fmt::format("recovery_target_lsn = '{}'\n", PostgresLsnText(target.record));
    lines += fmt::format("recovery_target_inclusive = {}\n",
                         target.kind == RecoveryTarget::Kind::kThrough ? "on" : "off");
    lines += "recovery_target_action = 'pause'\n";
  }
  return lines.append(kEnd);
}

}  // namespace

std::string StandbyLogFolder(const std::string& data_directory) {
  return data_directory + ".capstan-log";
}

Status WriteStandbySettings(const std::string& data_directory, const RecoveryTarget& target,
                            const FileOwner& owner) {
  const std::string path = SettingsPath(data_directory);
  std::string text = WithoutStandbyLines(ReadText(path));
  if (!text.empty() && !text.ends_with('\n')) {
    text += '\n';
  }
  CAPSTAN_RETURN_IF_ERROR(
      WriteFileDurably(path, text + StandbyLines(data_directory, target), owner));
  return WriteFileDurably(SignalPath(data_directory), std::string_view(), owner);
}

Status RemoveStandbySettings(const std::string& data_directory, const FileOwner& owner) {
  const std::string path = SettingsPath(data_directory);
  const std::string text = ReadText(path);
  if (std::string rest = WithoutStandbyLines(text); rest != text) {
    CAPSTAN_RETURN_IF_ERROR(WriteFileDurably(path, rest, owner));
  }
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(SignalPath(data_directory)));
  return SyncDirectory(data_directory);
}

std::string WithoutStandbyLines(std::string_view text) {
  const std::size_t begin = text.find(kBegin);
  const std::size_t end = begin == std::string_view::npos ? begin : text.find(kEnd, begin);
  if (end == std::string_view::npos) {
    return std::string(text);
  }
  return std::string(text.substr(0, begin)).append(text.substr(end + kEnd.size()));
}

std::string QuoteForRestoreCommand(std::string_view path) {
  std::string quoted = "'";
  for (const char c : path) {
    if (c == '\'') {
      quoted += "'\\''";
    } else if (c == '%') {
      quoted += "%%";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace capstan::writers
