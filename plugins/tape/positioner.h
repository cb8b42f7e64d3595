// Positioner: where a drive stands, in block addresses: blocks and filemarks count one each, from
// 0.
//
// A drive that can Locate is asked, and told. With others the addresses are counted: filemarks that
// were passed are remembered, so that going back to a place costs spacing and no reading; places
// behind those are gone to block by block.
//
// Threads: the drive's.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

class Positioner {
 public:
  explicit Positioner(TapeDrive& drive) : drive_(drive) {}  // which outlives it

  void AtBeginning();  // another cartridge is in the drive
  void Lose();         // after an error: nobody knows where the drive stands

  // The drive has read or written one.
  void PassBlock();
  void PassMark();
  // What is recorded ends here: nothing is known of what was behind.
  void Cut();

  Answer Rewind();
  // Negative: back, to in front of the last one. kEndOfData and kBeginning: there were fewer.
  Answer SkipMarks(std::int64_t count);
  // Stops behind a filemark (kFilemark), or in front of one if going back.
  Answer SkipBlocks(std::int64_t count);
  Answer GoTo(std::uint64_t object);
  Answer GoToEnd();
  Answer Get(std::uint64_t* object);

 private:
  bool counts() const { return !drive_.limits().locates; }
  std::size_t MarksBefore(std::uint64_t object) const;
  void MoveTo(std::uint64_t object);
  Answer Step();
  Answer StepBack();
  Answer CountMarksForward(std::int64_t count);
  Answer CountMarksBackward(std::int64_t count);
  Answer CountTo(std::uint64_t object);

  TapeDrive& drive_;
  std::optional<std::uint64_t> object_ = 0;  // the next to be read; nullopt: ask, or lost
  // While counting: all filemarks in front of known_end_, ascending.
  std::vector<std::uint64_t> marks_;
  std::uint64_t known_end_ = 0;
};

}  // namespace capstan::tape
