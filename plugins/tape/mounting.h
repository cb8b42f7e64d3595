// Mounting: which cartridge is in the drive of a device, and how the next one gets there.
//
// Without a changer an operator changes the cartridges, and this waits for that. Writing takes what
// can be written: blank cartridges, and those of the family that is being overwritten. Reading
// takes the cartridge that was noted as the wanted medium of the family; where nothing was noted,
// those that are next in the order of the slots, as the engine refuses a wrong one.
//
// Threads: one at a time; barcode() from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "plugins/tape/cartridge_memory.h"
#include "plugins/tape/shelf.h"
#include "plugins/tape/tape_drive.h"
#include "plugins/tape/waiting.h"

namespace capstan::tape {

// `drive`, `memory` and `waiting` outlive the mounting.
struct MountingParts {
  std::string name;  // of the drive, "vault/0"
  TapeDrive& drive;
  std::unique_ptr<Shelf> shelf;       // null: no changer
  CartridgeMemory* memory = nullptr;  // null: nothing is known
  Waiting& waiting;
  std::uint32_t mode;  // CAPSTAN_OPEN_*
  std::string token;   // of what is written
};

class Mounting {
 public:
  explicit Mounting(MountingParts parts) : parts_(std::move(parts)) {}

  // The first medium, at its beginning. ENOMEDIUM, ENOENT (blank), EEXIST (not blank), EROFS, EPERM
  // (write-once and not blank), EMEDIUMTYPE, EBUSY.
  Failure Open();
  // Another medium, the `sequence`th of the family. As long as it takes; ECANCELED once given up.
  Failure Load(std::uint32_t sequence);
  // Before the first byte is written to the medium.
  Failure NoteWriting();
  // Lets go of the cartridge; with a changer, back to its slot.
  Failure Eject();

  std::string barcode();

 private:
  enum class Attempt { kFits, kTryNext, kNothingThere };
  enum class Brought { kByChanger, kByHand };

  bool starts_anew() const {
    return parts_.mode == CAPSTAN_OPEN_REPLACE || parts_.mode == CAPSTAN_OPEN_CREATE;
  }
  Failure Within(const Failure& cause) const;

  Failure MakeReady(std::chrono::milliseconds patience);
  Failure CleanIfNeeded();
  Failure FetchFirst();
  Failure BeginWithMounted();
  Failure CheckFirst() const;

  Failure LoadByHand(std::uint32_t sequence);
  Failure LoadByChanger(std::uint32_t sequence);
  Failure TryChanger(std::uint32_t sequence, Attempt* attempt);
  Failure LoadAndMakeReady(std::chrono::milliseconds patience);
  // What keeps the mounted cartridge from being the wanted medium; empty: nothing.
  std::string WhyNot(std::uint32_t sequence, Brought brought) const;
  std::string WaitsFor(std::uint32_t sequence) const;

  std::optional<Shelved> FindForWriting() const;
  std::optional<Shelved> FindForReading(std::uint32_t sequence) const;
  bool IsKnownAsBlank(const Shelved& cartridge) const;
  bool IsCleaning(const Shelved& cartridge) const;
  CartridgeNote NoteOf(const std::string& barcode) const;
  std::string NameOfMounted() const;
  void SetBarcode(const std::string& barcode);

  MountingParts parts_;
  MountedCartridge cartridge_;
  std::string family_;              // of this device's media; empty: unknown
  std::string overwritten_family_;  // whose media may be written again
  std::uint32_t sequence_ = 0;      // of the mounted medium; 0: unknown
  std::string before_;              // barcode of the medium before
  std::set<std::string> useless_;   // barcodes of cartridges that were mounted in vain
  std::string why_useless_;         // the last of those

  std::mutex mutex_;
  std::string barcode_;  // guarded by mutex_: of the mounted cartridge
};

}  // namespace capstan::tape
