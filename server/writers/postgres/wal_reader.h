// WalReader: the records of PostgreSQL's log, one after the other, out of segment files; so also
// where valid log ends, which transactions ended when, and which restore points there are.
//
// Everything read is untrusted: a record is one only if its page headers, its place, its link to
// the record before it and its CRC32C are right. What is not is the end of the log, not an error,
// since the files behind the end hold leftovers. Memory: one buffer, whatever the record's length.
// Threads: one at a time. The files may be written to meanwhile; then the end is where it was seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/postgres/timeline_history.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

struct WalRecord {
  enum class Kind { kOther, kCommit, kAbort, kRestorePoint, kBackupEnd, kSwitch };

  Kind kind = Kind::kOther;
  Lsn start;
  Lsn end;  // where the next one may begin
  std::uint32_t transaction = 0;
  std::uint8_t resource_manager = 0;
  std::uint8_t info = 0;
  std::int64_t unix_us = 0;  // of kCommit, kAbort, kRestorePoint
  std::string name;          // of kRestorePoint
};

class WalReader {
 public:
  struct Options {
    std::vector<std::string> directories;  // pg_wal; the first one that has a segment counts
    TimelineHistory history{1};
    std::uint32_t segment_size = 16U << 20;
    std::uint64_t system_identifier = 0;  // 0: any
    Lsn start;                            // a record's beginning, or a page's
    Lsn limit{~std::uint64_t{0}};         // bytes from here on are not looked at
  };
  // kInvalidArgument.
  static Result<WalReader> Open(Options options);

  // The next record; nullopt at the end of valid log, from then on always.
  Result<std::optional<WalRecord>> Next();

  // Everything before this is valid log.
  Lsn end() const { return end_; }
  // The log ends there because of Options::limit alone.
  bool limited() const { return limited_; }
  // Why the log ends there, a clause. Empty before the end.
  const std::string& end_cause() const { return end_cause_; }

 private:
  // What is left of a record that may go over pages.
  struct Cursor {
    Lsn position;
    std::uint64_t remaining = 0;  // from position on
  };
  enum class Step { kDone, kEnd, kRestart };

  explicit WalReader(Options options);

  Step EndsHere(std::string cause);
  Step EndsAtLimit();
  Result<Step> ReadRecord(WalRecord* record);
  // Moves next_ behind page headers, and at the very beginning behind the record that the page
  // continues. Its page is the current one then.
  Result<Step> FindRecordStart();
  Result<Step> ReadHeader(Cursor* cursor, std::span<std::byte, kWalRecordHeaderSize> target);
  // The next bytes of the record, at most `length_max` and no more than lie on one page.
  Result<Step> ReadPiece(Cursor* cursor, std::uint64_t length_max,
                         std::span<const std::byte>* piece);
  // Makes the page that holds `position` the current one.
  Result<Step> LoadPage(Lsn position);
  Step CheckPage(Lsn address);
  // Makes segment_ the file that begins at `begin`; kEnd if there is none.
  Result<Step> OpenSegment(Lsn begin);
  Result<Step> FillBuffer(Lsn address);

  Options options_;
  Lsn next_;                     // where to look for the next record
  Lsn end_;                      // see end()
  std::optional<Lsn> previous_;  // the beginning of the record before
  std::string end_cause_;
  bool limited_ = false;

  UniqueFd segment_;
  std::optional<Lsn> segment_begin_;
  std::vector<std::byte> buffer_;  // a stretch of the segment
  Lsn buffer_begin_;
  std::size_t buffer_size_ = 0;
  std::optional<Lsn> page_address_;  // of the current page
  WalPageHeader page_;
  std::span<const std::byte> page_bytes_;  // in buffer_
  std::uint16_t magic_ = 0;                // of the first page; all others have the same
};

}  // namespace capstan::writers
