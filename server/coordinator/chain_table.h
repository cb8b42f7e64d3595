// ChainTable: RESTORE ... WITH PLANONLY as a result set: what each step reads, whether it is there,
// where it writes, and how long that should take.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/chain_media.h"
#include "server/writers/database_writer.h"

namespace capstan::coordinator {

// "full", "differential", "log".
std::string_view KindName(media::SetKind kind);

class ChainTable {
 public:
  // `history`: the sets whose backups tell how fast the database and its media are.
  ChainTable(ChainMedia& media, std::span<const catalog::KnownSet> history);

  // The next step; where it writes.
  void Add(const catalog::KnownSet& known, const std::vector<writers::RestoreTarget>& targets);
  // "3 steps read 8.1 MiB, in about 4 seconds."
  std::string Summary() const;
  catalog::Table Take() && { return std::move(table_); }

 private:
  ChainMedia& media_;
  double bytes_per_second_ = 0;  // 0: unknown
  std::uint64_t bytes_ = 0;      // of all steps
  catalog::Table table_;
};

}  // namespace capstan::coordinator
