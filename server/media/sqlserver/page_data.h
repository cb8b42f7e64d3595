// What can be checked of the pages and the log in a set as they go by: SQL Server's own checksum,
// and that extents are of files of the database.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "server/media/block_composer.h"
#include "server/media/mtf_values.h"
#include "server/media/set_facts.h"

namespace capstan::media::sqlserver {

// CSUM: for each sector of 512 bytes, rotate left by one and XOR its 32-bit words. The last sector
// is filled up with zeros. Bytes may come in pieces of any size.
class SectorSum {
 public:
  void Add(Bytes bytes);
  std::uint32_t Finish();

 private:
  void AddSector(Bytes sector);

  std::uint32_t sum_ = 0;
  ByteVector partial_;
};

// Page data come in extents of eight pages. A page names itself, but only one that is in use does:
// the others of an allocated extent hold whatever was on the disk. So an extent is known by those
// of its pages that name a file of the database and stand at their place in it.
class ExtentCheck {
 public:
  explicit ExtentCheck(const std::vector<FileFacts>& files);

  // Page data without the lead bytes. False if a whole extent of it has pages in use of which none
  // can belong there.
  bool Add(Bytes bytes);
  // In whole extents, those that belong to no file included.
  std::uint64_t pages() const { return pages_; }

 private:
  bool CheckExtent(Bytes extent);

  std::set<std::uint32_t> file_ids_;
  std::uint64_t pages_ = 0;
  ByteVector partial_;
};

}  // namespace capstan::media::sqlserver
