// DriveMap: where Windows paths lie on this machine, from the table drive_map of the configuration.
//
// Statements written for SQL Server name E:\backup\sales.bak and \\server\share\sales.bak. They are
// translated where the server hands a path on; messages and history keep what the statement said,
// so that they can be read, and restored from, in the same words.
//
// Pure: nothing is looked up in the file system. Threads: any.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::coordinator {

class DriveMap {
 public:
  DriveMap() = default;  // maps nothing

  // `entries`: "e:" or "\\server\share" -> absolute path. kInvalidArgument names the wrong one.
  static Result<DriveMap> Create(const std::map<std::string, std::string>& entries);

  // The path on this machine. One that is no Windows path stays as it is, and so do devices
  // (\\.\Tape0). ".." does not lead out of the drive. Case is ignored in what the table names and
  // kept in the rest. kNotFound with a hint if the drive or share is not in the table.
  Result<std::string> Map(const std::string& path) const;

 private:
  // Keys in lower case, the longest first, so that a share within a share wins.
  std::vector<std::pair<std::string, std::string>> entries_;
};

// What SQL Server prints for a drive that is not there: "3(The system cannot find the path
// specified.)".
inline constexpr std::string_view kPathNotFound = "3(The system cannot find the path specified.)";

}  // namespace capstan::coordinator
