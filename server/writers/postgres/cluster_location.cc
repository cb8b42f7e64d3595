#include "server/writers/postgres/cluster_location.h"

#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "server/writers/postgres/cluster_place.h"

namespace capstan::writers {
namespace {

// A value of a conninfo, in its quotes.
std::string Quoted(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') {
      quoted += '\\';
    }
    quoted += c;
  }
  return quoted + "'";
}

}  // namespace

bool IsDataDirectoryLocation(const std::string& location) {
  return location.starts_with('/') && !location.starts_with("//");
}

Result<std::string> ConninfoOfDataDirectory(const std::string& data_directory) {
  // Lines: process, data directory, start, port, socket folder, address.
  std::ifstream file(data_directory + "/postmaster.pid");
  std::vector<std::string> lines;
  for (std::string line; lines.size() < 6 && std::getline(file, line);) {
    lines.push_back(std::move(line));
  }
  if (RunningPostmaster(data_directory) == 0 || lines.size() < 5) {
    return Error(Code::kUnavailable, "no server runs on '{}'", data_directory);
  }
  const std::string& host = lines[4].empty() && lines.size() > 5 ? lines[5] : lines[4];
  return fmt::format("host={} port={}", Quoted(host), Quoted(lines[3]));
}

void KnownDirectories::Remember(const std::string& location, const std::string& data_directory) {
  const MutexLock lock(mutex_);
  directories_[location] = data_directory;
}

Result<std::string> KnownDirectories::Find(const std::string& location) const {
  if (IsDataDirectoryLocation(location)) {
    return location;
  }
  const MutexLock lock(mutex_);
  const auto found = directories_.find(location);
  if (found == directories_.end()) {
    return Error(Code::kFailedPrecondition,
                 "no server has said where the files of this cluster are")
        .WithHint("name the cluster by its data directory: postgresql:/path");
  }
  return found->second;
}

}  // namespace capstan::writers
