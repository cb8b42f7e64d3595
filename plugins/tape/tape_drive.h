// TapeDrive and MediumChanger: a drive and a library as the plugin uses them, in the terms of SCSI
// (SSC and SMC). Implemented by the emulated library, by the kernel's st driver, and by SCSI over
// iSCSI.
//
// Threads: one at a time for each object, but for DriveStatus, which any thread may ask for. Calls
// block until the device has answered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plugins/tape/failure.h"

namespace capstan::tape {

// How a command ended; sense key and additional sense code are those a drive reports it with.
enum class Outcome {
  kDone,
  kEarlyWarning,    // a write that was done, less than the early warning zone is left (0, 00/02)
  kFilemark,        // reading or spacing met one, and stands behind it (0, 00/01)
  kEndOfData,       // nothing was recorded behind (8, 00/05)
  kBeginning,       // spacing back met the beginning (0, 00/04)
  kBlockTooLong,    // the block is longer than the buffer: `bytes` says how long; skipped (0, ILI)
  kNoRoom,          // physical end: the block was not written (D, 00/02)
  kNoMedium,        // (2, 3A/00)
  kMediumChanged,   // told once after a load or a reset; the next command works (6, 28/00, 29/00)
  kWriteProtected,  // (7, 27/00)
  kWorm,            // would overwrite a write-once medium (7, 30/0C)
  kIncompatible,    // another generation, or a cleaning cartridge (5, 30/00)
  kNotReady,        // becoming ready; ask again (2, 04/01)
  kBusy,            // somebody else has reserved or opened it
  kUnsupported,     // (5, 20/00)
  kMediumError,     // (3, ...)
  kHardwareError,   // (4, ...)
  kTransportError,  // the device cannot be reached
};

struct Answer {
  Outcome outcome = Outcome::kDone;
  std::uint64_t bytes = 0;  // read: of the block
  Failure failure = {};     // filled in whenever the outcome is an error

  bool done() const { return outcome == Outcome::kDone || outcome == Outcome::kEarlyWarning; }
};

// What is in the drive, from the cartridge's own memory where it has one.
struct MountedCartridge {
  std::string barcode;  // empty if nobody knows
  bool write_protected = false;
  bool worm = false;
  std::uint64_t capacity_bytes = UINT64_MAX;   // native; UINT64_MAX = unknown
  std::uint64_t remaining_bytes = UINT64_MAX;  // behind the end of data
  bool blank = false;                          // nothing is recorded, as far as is known
};

struct DriveLimits {
  std::uint32_t block_size_max = 0;  // bytes of one block
  bool locates = false;              // Locate and Position work
  // Bytes that a write surely finds behind the early warning.
  std::uint64_t early_warning_bytes = 0;
};

struct DriveStatus {
  std::string mode;                  // for example "emulated LTO-8" or "iSCSI"
  std::string barcode;               // of what is mounted
  std::uint32_t stops = 0;           // backhitches
  std::uint64_t medium_time_us = 0;  // of the mechanics, by the time model or by measuring
  bool cleaning_needed = false;      // the drive asks for a cleaning cartridge (TapeAlert 20, 21)
};

class TapeDrive {
 public:
  virtual ~TapeDrive() = default;  // gives the drive back; the cartridge stays in it

  virtual const DriveLimits& limits() const = 0;
  virtual Answer TestReady() = 0;
  virtual Answer Inspect(MountedCartridge* cartridge) = 0;

  // One block, of 1 to block_size_max bytes. Writing ends the medium behind the block.
  virtual Answer Write(std::span<const std::byte> block) = 0;
  virtual Answer Read(std::span<std::byte> buffer) = 0;
  // Also puts everything that was written before on the medium; count 0 does that alone.
  virtual Answer WriteFilemarks(std::uint32_t count) = 0;

  virtual Answer Rewind() = 0;
  virtual Answer SpaceBlocks(std::int64_t count) = 0;  // stops behind a filemark
  virtual Answer SpaceFilemarks(std::int64_t count) = 0;
  virtual Answer SpaceToEndOfData() = 0;
  // Logical object numbers: blocks and filemarks count one each. kUnsupported unless
  // limits().locates.
  virtual Answer Locate(std::uint64_t object) = 0;
  virtual Answer Position(std::uint64_t* object) = 0;

  virtual Answer Load() = 0;    // makes ready what a changer has put in
  virtual Answer Unload() = 0;  // rewinds and lets go of it

  virtual DriveStatus status() const = 0;
};

enum class ElementKind { kPicker, kSlot, kPort, kDrive };  // kPort: import and export

struct Element {
  ElementKind kind = ElementKind::kSlot;
  std::uint32_t address = 0;
  bool full = false;
  std::string barcode;               // of what is in it; empty: no label, or nothing
  std::uint32_t source_address = 0;  // where it came from; 0 = unknown
};

class MediumChanger {
 public:
  virtual ~MediumChanger() = default;

  virtual Answer Inventory(std::vector<Element>* elements) = 0;
  // kBusy while another program moves something.
  virtual Answer Move(std::uint32_t from, std::uint32_t to) = 0;
};

}  // namespace capstan::tape
