// LTO generations: what their cartridges hold and which drive takes which cartridge.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace capstan::tape {

// How fast the mechanics of a drive move; those of IBM's half-height drives.
struct DriveTimes {
  double load_s;
  double unload_s;
  double locate_average_s;  // from the beginning
  double rewind_average_s;
};

struct Generation {
  std::string_view name;  // "LTO-8"
  int number;             // 8; M8, an LTO-7 tape that an LTO-8 drive formatted, is 7
  std::uint64_t capacity_bytes;
  std::string_view medium_id;       // the end of a barcode
  std::string_view worm_medium_id;  // empty: there are none
  std::uint32_t wraps;
  std::span<const double> speeds_mb_s;  // what the tape can run at, ascending; 1 MB is 10^6 bytes
  DriveTimes times;                     // all 0: nobody published them
};

// Null if there is none of that name.
const Generation* FindGeneration(std::string_view name);
// By the last two characters of the barcode; null if they say nothing.
const Generation* GenerationOfBarcode(std::string_view barcode);
bool IsWormBarcode(std::string_view barcode);
// "LTO-1, LTO-2, ..."
std::string GenerationNames();

// Two generations back up to LTO-7, one for LTO-8 and LTO-9, none for LTO-10.
bool CanRead(const Generation& drive, const Generation& cartridge);
// One generation back, none for LTO-10.
bool CanWrite(const Generation& drive, const Generation& cartridge);

}  // namespace capstan::tape
