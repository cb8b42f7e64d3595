// The emulated tape library: a folder with drives, slots and cartridges, that several processes use
// at once. What the plugin needs of it, and EmulatedLibrary for whoever looks after one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plugins/tape/emulator/library_store.h"
#include "plugins/tape/failure.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

// The drive is the caller's alone until it is destroyed, or the process ends. os_error: ENOENT no
// such library, ENXIO no such drive, EBUSY (transient) somebody has it; the message names the
// process. `drive_index` is from 0.
Failure OpenEmulatedDrive(const std::string& library_directory, std::uint32_t drive_index,
                          std::unique_ptr<TapeDrive>* drive);
Failure OpenEmulatedChanger(const std::string& library_directory,
                            std::unique_ptr<MediumChanger>* changer);

// The element address of a drive, as Inventory and Move use it.
constexpr std::uint32_t EmulatedDriveAddress(std::uint32_t drive_index) {
  return kFirstDriveAddress + drive_index;
}

// Remarks that a cartridge carries in its memory, for example of which family it is. Empty if there
// is no such remark; an empty value removes it. Any process, also while the cartridge is loaded.
Failure NoteOf(const std::string& library_directory, const std::string& barcode,
               const std::string& key, std::string* value);
Failure SetNote(const std::string& library_directory, const std::string& barcode,
                const std::string& key, const std::string& value);

// One cartridge as a person asks for it.
struct CartridgeView {
  CartridgeRecord record;
  std::uint64_t used_bytes = 0;
  std::uint32_t address = 0;  // 0: outside of the library
};

struct DriveView {
  std::string barcode;  // empty: nothing is in it
  bool loaded = false;  // not only put in
  int process = 0;      // that has it, or 0
  DriveWear wear;
};

// Threads: any; a value that keeps nothing open.
class EmulatedLibrary {
 public:
  static Failure Create(const std::string& directory, const LibraryParameters& parameters,
                        EmulatedLibrary* library);
  static Failure Open(const std::string& directory, EmulatedLibrary* library);

  const LibraryStore& store() const { return store_; }

  // By barcode.
  Failure List(std::vector<CartridgeView>* cartridges) const;
  Failure Find(const std::string& barcode, CartridgeView* cartridge) const;
  Failure Inventory(std::vector<Element>* elements) const;
  Failure Drives(std::vector<DriveView>* drives) const;

  // Blank, in the first free slot. The barcode tells the generation and whether it is WORM, if it
  // has a medium id; capacity 0 = the library's.
  Failure AddBlank(CartridgeRecord record) const;
  // A copy of an image, in the first free slot. `barcode` empty = the file's name without ".tap".
  Failure ImportImage(const std::string& path, const std::string& barcode) const;
  // Brings in a cartridge that is outside.
  Failure Insert(const std::string& barcode) const;
  // To a free port, or out of the library; not out of a drive.
  enum class Exit { kPort, kOutside };
  Failure Eject(const std::string& barcode, Exit exit) const;
  // Everything on it is gone. Not WORM, not in a drive.
  Failure Erase(const std::string& barcode) const;

  // From where it is into the drive, ready for use. A cleaning cartridge cleans and goes back:
  // `remark` says so then.
  Failure Load(const std::string& barcode, std::uint32_t drive_index, std::string* remark) const;
  // Back to where it came from, or to a free slot; `to` is that element.
  Failure Unload(std::uint32_t drive_index, std::uint32_t* to) const;

 private:
  Failure Add(const CartridgeRecord& record, const std::string& image) const;

  LibraryStore store_;
};

}  // namespace capstan::tape
