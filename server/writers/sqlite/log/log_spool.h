// LogSpool: the kept log of one database, on disk: segment files in a folder of their own, to which
// blocks are appended, and which are removed from the front.
//
// A crash leaves a prefix of what was appended, at least what was synced: a torn block at the end
// is cut off when the spool is opened. Each segment begins with a kBegin block, so that the end of
// any segment is a complete WalPosition. Threads: one at a time. What Pieces returned may be read
// from any, also when the spool is gone.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/writers/sqlite/log/log_block.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

// A stretch of a segment: whole blocks.
struct LogPiece {
  std::shared_ptr<const UniqueFd> file;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class LogSpool {
 public:
  static constexpr std::uint64_t kSegmentBytes = std::uint64_t{16} << 20;

  // Opens what is there; makes the folder. Log that is damaged in the middle is dropped, with all
  // in front of it: `damage` says so.
  static Result<LogSpool> Open(const std::string& folder);

  // Has Begin ever been called, or did Open find something?
  bool empty() const { return segments_.empty(); }
  const std::string& damage() const { return damage_; }

  // Drops everything and begins anew behind `position`.
  Status Begin(const WalPosition& position);
  // `payload` of kFrames. Fills in the block's payload fields. REQUIRES: !empty()
  Status Append(LogBlock block, std::span<const std::byte> payload);
  // What was appended is durable.
  Status Sync();
  // Drops whole segments of which nothing behind `lsn` is needed.
  Status Trim(Lsn lsn);
  Status Remove();  // everything; empty() from then on

  // REQUIRES: !empty() for the following
  Lsn first() const { return segments_.front().first; }
  // Of the last whole transaction.
  Lsn last_commit() const { return last_commit_; }
  // The last block: its end is where log goes on.
  const LogBlock& last() const { return last_; }
  std::int64_t last_time_unix_us() const { return last_time_unix_us_; }

  // The blocks that hold something behind `lsn`, whole.
  Result<std::vector<LogPiece>> Pieces(Lsn lsn) const;
  std::uint64_t bytes() const;
  bool synced() const { return synced_; }

 private:
  struct Segment {
    std::uint64_t number = 0;
    std::string path;
    std::shared_ptr<UniqueFd> file;
    std::uint64_t bytes = 0;
    Lsn first;  // in front of it
    Lsn last;   // behind it
  };

  explicit LogSpool(std::string folder) : folder_(std::move(folder)) {}
  Status Load();
  // Walks its blocks; false where they end too early. Verifies payloads too if `thorough`.
  Result<bool> Scan(Segment* segment, bool thorough);
  Status AddSegment(const WalPosition& position);
  void Note(const LogBlock& block);

  std::string folder_;
  std::deque<Segment> segments_;
  LogBlock last_;
  Lsn last_commit_;
  std::int64_t last_time_unix_us_ = 0;
  std::string damage_;
  bool synced_ = true;
};

}  // namespace capstan::writers
