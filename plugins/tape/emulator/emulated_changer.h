// EmulatedChanger: the robot of an emulated library. It keeps nothing open between calls, so that
// any number of processes can have one.
#pragma once

#include <vector>

#include "plugins/tape/emulator/library_store.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

class EmulatedChanger final : public MediumChanger {
 public:
  explicit EmulatedChanger(LibraryStore store) : store_(std::move(store)) {}

  // Every element, full or not, in order of addresses.
  Answer Inventory(std::vector<Element>* elements) override;
  // Out of a drive only what was unloaded; if nobody has the drive open, it is unloaded on the way.
  Answer Move(std::uint32_t from, std::uint32_t to) override;

 private:
  Failure CheckTakeable(std::uint32_t from, const StoredElement& element, FileLock* drive) const;

  const LibraryStore store_;
};

}  // namespace capstan::tape
