// Shelf: the changer of a library as one of its drives sees it: which cartridges there are, and how
// they get into the drive and back.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plugins/tape/cartridge_memory.h"
#include "plugins/tape/tape_drive.h"
#include "plugins/tape/waiting.h"

namespace capstan::tape {

// A cartridge that lies in a slot or in the port.
struct Shelved {
  std::uint32_t address = 0;
  std::string barcode;
};

class Shelf {
 public:
  // `drive_index`: among the library's drives, from 0.
  Shelf(std::unique_ptr<MediumChanger> changer, std::uint32_t drive_index)
      : changer_(std::move(changer)), drive_index_(drive_index) {}

  // Takes the inventory, which all that follows is about.
  Failure Look(Waiting& waiting);

  // What is in the drive; nullopt: nothing.
  std::optional<std::string> mounted_barcode() const;
  // Slots first, then the port, in the order of their addresses.
  std::vector<Shelved> cartridges() const;
  // In drives other than ours; `address` is the drive's index.
  std::vector<Shelved> in_other_drives() const;

  // Into the drive, which must be empty.
  Failure Bring(Waiting& waiting, const Shelved& cartridge);
  // From the drive, which must have let go of it, to where it came from or to an empty slot.
  Failure PutBack(Waiting& waiting);

 private:
  const Element* drive() const;
  Failure Move(Waiting& waiting, std::uint32_t from, std::uint32_t to, const std::string& what);

  const std::unique_ptr<MediumChanger> changer_;
  const std::uint32_t drive_index_;
  std::vector<Element> elements_;  // by address
};

// The cartridge on the shelf that the drive `name` wrote last.
std::optional<Shelved> FindLastUsed(const Shelf& shelf, CartridgeMemory& memory,
                                    const std::string& name);

}  // namespace capstan::tape
