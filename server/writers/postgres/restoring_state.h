// RestoringState: what a data directory says of itself between the statements of a restore, in a
// file of ours in it (`capstan.restoring`). While the file is there the control file has another
// name, so that nobody starts a server on half a cluster by mistake; PostgreSQL's own recovery, and
// a standby, are the exceptions.
//
//   kWriting       a full backup is being written; the directory is worth nothing
//   kDifferential  a differential backup is being written over it, and can be begun again
//   kRestoring     whole up to log_end; log or recovery can follow
//   kRecovering    PostgreSQL recovers it, or did when this machine or process went down
//   kStandby       a server may be running on it that only reads
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/postgres/cluster_place.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

struct RestoringState {
  enum class Phase { kWriting, kDifferential, kRestoring, kRecovering, kStandby };

  Phase phase = Phase::kWriting;
  std::string job_name;    // of the restore that wrote the full backup
  bool was_empty = false;  // of kWriting: nothing was there before
  bool kept = false;       // to be gone on with, or gone on with: given up, all of it goes
  std::uint64_t system_identifier = 0;
  std::uint32_t server_version = 0;  // as libpq counts: 150010
  std::uint32_t segment_size = 0;
  std::uint32_t timeline = 0;            // of log_end
  Lsn start;                             // where replay begins
  Lsn consistent;                        // no earlier point can be recovered to
  Lsn log_end;                           // the log is there up to here
  std::string log_directory;             // pg_wal, or where that leads
  std::vector<std::string> tablespaces;  // their folders
};

class RestoringFile {
 public:
  explicit RestoringFile(const std::string& data_directory)
      : path_(data_directory + "/capstan.restoring") {}

  const std::string& path() const { return path_; }
  bool exists() const { return PathExists(path_); }
  // kNotFound, kDataLoss.
  Result<RestoringState> Read() const;
  Status Write(const RestoringState& state, const FileOwner& owner) const;
  Status Remove() const;

 private:
  const std::string path_;
};

// The directory is ours alone as long as this lives. Error 3101 if another restore has it.
Result<UniqueFd> LockDirectory(const std::string& data_directory);

// PostgreSQL's name of the control file, and the one under which it does not find it.
std::string ControlFilePath(const std::string& data_directory);
std::string HiddenControlFilePath(const std::string& data_directory);
// Either of the two, whichever is there.
std::string PresentControlFilePath(const std::string& data_directory);

}  // namespace capstan::writers
