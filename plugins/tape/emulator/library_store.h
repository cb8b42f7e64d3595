// LibraryStore: a library's folder: where its files are, who may change them, and its addresses.
//
//   library.toml            LibraryParameters
//   elements.toml           LibraryState
//   cartridges/BARCODE.tap  what is recorded
//   cartridges/BARCODE.toml CartridgeRecord
//   locks/                  library.lock: elements.toml and all CartridgeRecords are being changed;
//                           drive-N.lock: a TapeDrive exists for drive N
//
// Threads: any; a value that never changes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "plugins/tape/emulator/library_files.h"
#include "plugins/tape/emulator/library_records.h"

namespace capstan::tape {

inline constexpr std::uint32_t kPickerAddress = 1;
inline constexpr std::uint32_t kFirstDriveAddress = 256;
inline constexpr std::uint32_t kFirstPortAddress = 768;
inline constexpr std::uint32_t kFirstSlotAddress = 1024;

// "drive 0", "slot 1", "port 1", as people count them.
std::string ElementName(std::uint32_t address);

class LibraryStore {
 public:
  // ENOENT if the folder is no library.
  static Failure Open(const std::string& directory, LibraryStore* store);
  // The folder is made, or is there and empty.
  static Failure Create(const std::string& directory, const LibraryParameters& parameters,
                        LibraryStore* store);

  const std::string& directory() const { return directory_; }
  const LibraryParameters& parameters() const { return parameters_; }
  std::string ImagePath(const std::string& barcode) const;
  std::string RecordPath(const std::string& barcode) const;
  bool HasElement(std::uint32_t address) const;
  bool IsDrive(std::uint32_t address) const;

  Failure ReadState(LibraryState* state) const;
  Failure ReadCartridge(const std::string& barcode, CartridgeRecord* record) const;

  // Under the library's lock: what `change` leaves is stored, unless it fails. EBUSY if somebody
  // else holds the lock for long.
  Failure ChangeState(const std::function<Failure(LibraryState&)>& change) const;
  Failure ChangeCartridge(const std::string& barcode,
                          const std::function<Failure(CartridgeRecord&)>& change) const;
  // EBUSY if somebody else changes something for long.
  Failure Lock(FileLock* lock) const;

  // EBUSY names who has the drive.
  Failure LockDrive(std::uint32_t index, FileLock* lock) const;
  // The process that has the drive, or 0.
  int DriveHolder(std::uint32_t index) const;

 private:
  std::string DriveLockPath(std::uint32_t index) const {
    return directory_ + "/locks/drive-" + std::to_string(index) + ".lock";
  }
  std::string StatePath() const { return directory_ + "/elements.toml"; }

  std::string directory_;
  LibraryParameters parameters_;
};

}  // namespace capstan::tape
