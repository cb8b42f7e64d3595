// What an emulated library keeps beside its cartridges' images, as plain values and as TOML.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plugins/tape/failure.h"

namespace capstan::tape {

// library.toml. Written once; a person may change it while nothing is in use.
struct LibraryParameters {
  std::string generation = "LTO-8";  // of the drives, and of cartridges whose barcode says nothing
  std::uint32_t drives = 1;          // 1..64
  std::uint32_t slots = 8;           // 1..4096
  std::uint32_t ports = 1;           // 0..64
  // Of new cartridges; 0 = what the generation holds. Writing is warned when it is reached.
  std::uint64_t capacity_bytes = 0;
  // What surely fits behind the warning; 0 = 0.1 % of the capacity and at least 4 MiB.
  std::uint64_t early_warning_bytes = 0;
  std::uint32_t block_size_max = 8U << 20U;
  std::uint32_t fixed_block_size = 0;  // 0 = a block for each write, of any size
  std::string time_model;              // a generation's name; empty = time is not looked at
  double clock_scale = 0;  // seconds slept for a second of the model; 0 = accounted only
  std::uint64_t cleaning_after_bytes = 0;  // a drive asks to be cleaned; 0 = never
  std::uint64_t cleaning_after_loads = 0;
};

enum class CartridgeKind { kData, kCleaning };

// BARCODE.toml, what a real cartridge has in its memory chip.
struct CartridgeRecord {
  std::string barcode;
  CartridgeKind kind = CartridgeKind::kData;
  std::string generation = "LTO-8";
  std::uint64_t capacity_bytes = 0;
  bool worm = false;
  bool write_protected = false;
  std::uint64_t load_count = 0;
  std::uint64_t bytes_written = 0;  // in its life
  // What was durable in the image when somebody last looked: what is missing in front of this was
  // not torn off by a crash.
  std::uint64_t recorded_bytes = 0;
  std::uint32_t cleanings_left = 0;
  std::map<std::string, std::string>
      notes;  // of whoever uses it, for example of which family it is
};

// How far what a changer has put into a drive has got.
enum class Threading {
  kInserted,  // the drive loads it with the next command
  kLoaded,    // it cannot be taken out
  kEjected,
};

struct StoredElement {
  std::string barcode;
  std::uint32_t source_address = 0;            // 0 = unknown
  Threading threading = Threading::kInserted;  // of drives only
};

struct DriveWear {
  std::uint64_t bytes_since_cleaning = 0;
  std::uint64_t loads_since_cleaning = 0;
  bool cleaning_needed = false;
};

// elements.toml: where everything is.
struct LibraryState {
  std::map<std::uint32_t, StoredElement> full;  // by address
  std::map<std::uint32_t, DriveWear> wear;      // by drive index
};

// A key that is unknown, of another type or out of its limits is an error that names it; `path` is
// for messages.
Failure ParseParameters(const std::string& text, const std::string& path,
                        LibraryParameters* parameters);
std::string FormatParameters(const LibraryParameters& parameters);
Failure CheckParameters(const LibraryParameters& parameters);
// What was asked for, or the default.
std::uint64_t EarlyWarningBytes(const LibraryParameters& parameters);

Failure ParseCartridge(const std::string& text, const std::string& path, CartridgeRecord* record);
std::string FormatCartridge(const CartridgeRecord& record);

Failure ParseState(const std::string& text, const std::string& path, LibraryState* state);
std::string FormatState(const LibraryState& state);

// 1 to 16 characters of A-Z, 0-9, '-' and '_'.
Failure CheckBarcode(const std::string& barcode);

}  // namespace capstan::tape
