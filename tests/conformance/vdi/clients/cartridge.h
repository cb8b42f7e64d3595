// Cartridge: an emulated tape in one file: records of data blocks, and filemarks, one after the
// other, each behind a header of 8 bytes (kind, size).
//
// Behaves as a drive in fixed-block mode: every block and every filemark has a logical address;
// writing makes all that was behind unreadable; reading stops at filemarks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "medium.h"

namespace vendor {

class Cartridge {
 public:
  struct Format {
    std::uint32_t block_size;
    std::uint32_t soft_mark_size;  // bytes that a filemark takes; 0 = a real one
    std::uint64_t capacity;        // bytes of the file; 0 = no limit
    std::uint64_t early_warning;   // bytes that still fit after the first 1100
  };

  explicit Cartridge(const Format& format);
  Cartridge(const Cartridge&) = delete;
  Cartridge& operator=(const Cartridge&) = delete;
  ~Cartridge();

  // Rewound. False if there is no such cartridge, or it is not one of ours.
  bool Load(const std::string& path, bool create);
  void Unload();

  Completion Read(std::uint8_t* data, unsigned long size);
  Completion Write(const std::uint8_t* data, unsigned long size);
  Completion WriteMark();
  // Forwards, or backwards if negative. Marks are passed; skipping blocks ends behind a mark.
  Completion SkipMarks(std::int32_t count);
  Completion SkipBlocks(std::int32_t count);
  Completion Rewind();
  Completion GetPosition() const;
  Completion SetPosition(std::int64_t address);
  Completion Flush();

 private:
  struct Entry {
    bool is_mark;
    std::uint64_t offset;  // of the header in the file
    std::uint64_t size;    // bytes behind the header
    std::int64_t address;  // of the first block
  };

  bool ReadIndex();
  std::int64_t BlocksOf(const Entry& entry) const;
  std::uint64_t OffsetHere() const;  // where the next header would be written
  bool AtEnd() const { return current_ == entries_.size(); }
  // Makes the current position the end of the data.
  bool CutHere();
  Completion Append(bool is_mark, const std::uint8_t* data, unsigned long size);
  // One step over a block or a mark; the code says what was passed, or why nothing was.
  int StepForwards();
  int StepBackwards();

  const Format format_;
  int descriptor_;
  std::vector<Entry> entries_;
  std::size_t current_;   // the entry that the head is in or in front of
  std::uint64_t within_;  // bytes of it that are behind the head
};

}  // namespace vendor
