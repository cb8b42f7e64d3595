// The part of a consistent view that is not in the database file yet: for each page with a frame in
// the WAL after what was checkpointed, the last frame up to the view's mark. sqlite.md argues why.
//
// Memory: 8 bytes per such page, at most 8 bytes per frame of the WAL (0.2 % of a WAL of 4 KiB
// pages, 1.5 % of one of 512 byte pages), whatever the size of the database.
// Threads: constant after Open; Overlay may be called from several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "server/writers/sqlite/sqlite_format.h"
#include "server/writers/sqlite/sqlite_wal_index.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class SqliteWalView {
 public:
  // The view that ends at `header`, of which the frames up to `backfilled` are in the database.
  // REQUIRES: a read transaction pins the WAL from now on until this object is gone.
  static Result<SqliteWalView> Open(const std::string& wal_path, const SqliteWalIndex& index,
                                    const WalIndexHeader& header, std::uint32_t backfilled);

  // Puts the pages that it has into `target`, which holds the database from byte `offset` on. Every
  // frame's page number, salt and checksum are verified: kDataLoss if one does not fit.
  Status Overlay(std::uint64_t offset, std::span<std::byte> target) const;

  // Has nobody reset the WAL since?
  Status Verify() const;

  std::size_t page_count() const { return pages_.size(); }

 private:
  struct Page {
    std::uint32_t number;  // from 1
    std::uint32_t frame;   // from 1
    friend auto operator<=>(const Page&, const Page&) = default;
  };
  using WalHeaderBytes = std::array<std::byte, 32>;

  Result<WalHeaderBytes> ReadWalHeader() const;
  Status CheckWalHeader(const WalIndexHeader& header);
  // Reads pages whose frames follow each other in the WAL.
  Status ReadRun(std::span<const Page> run, std::byte* target) const;
  Status ReadPart(const Page& page, std::uint64_t offset, std::span<std::byte> target) const;
  Result<WalChecksum> ReadChecksumBefore(std::uint32_t frame) const;
  std::uint64_t FrameOffset(std::uint32_t frame) const;

  UniqueFd fd_;
  std::uint32_t page_size_ = 0;
  ChecksumOrder checksum_order_ = ChecksumOrder::kLittleEndian;
  WalHeaderBytes wal_header_{};
  std::vector<Page> pages_;  // by number, each once
};

}  // namespace capstan::writers
