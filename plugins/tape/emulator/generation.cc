#include "plugins/tape/emulator/generation.h"

#include <array>

namespace capstan::tape {
namespace {

constexpr std::uint64_t kGigabyte = 1'000'000'000;

// Published for LTO-8 and LTO-9 cartridges; the older ones are spread evenly between the lowest
// speed that was published and the native one.
constexpr std::array kUpTo80 = {40.0, 50.0, 60.0, 70.0, 80.0};
constexpr std::array kUpTo20 = {20.0};
constexpr std::array kUpTo40 = {20.0, 30.0, 40.0};
constexpr std::array kUpTo120 = {40.0, 53.0, 67.0, 80.0, 93.0, 107.0, 120.0};
constexpr std::array kUpTo140 = {40.0, 57.0, 73.0, 90.0, 107.0, 123.0, 140.0};
constexpr std::array kUpTo160 = {40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0};
constexpr std::array kUpTo300 = {101.0, 119.0, 137.0, 155.0, 173.0, 192.0,
                                 210.0, 228.0, 246.0, 264.0, 282.0, 300.0};
constexpr std::array kUpTo360 = {112.0, 135.0, 157.5, 180.0, 203.0, 226.0,
                                 249.5, 273.0, 306.0, 318.0, 341.0, 360.0};
constexpr std::array kUpTo400 = {177.0, 203.0, 223.0, 244.0, 263.0, 284.0,
                                 305.0, 325.0, 347.0, 366.0, 385.0, 400.0};

constexpr DriveTimes kNotPublished = {0, 0, 0, 0};

constexpr std::array kGenerations = std::to_array<Generation>({
    {"LTO-1", 1, 100 * kGigabyte, "L1", "", 48, kUpTo20, kNotPublished},
    {"LTO-2", 2, 200 * kGigabyte, "L2", "", 64, kUpTo40, kNotPublished},
    {"LTO-3", 3, 400 * kGigabyte, "L3", "LT", 44, kUpTo80, kNotPublished},
    {"LTO-4", 4, 800 * kGigabyte, "L4", "LU", 56, kUpTo120, kNotPublished},
    {"LTO-5", 5, 1500 * kGigabyte, "L5", "LV", 80, kUpTo140, {12, 17, 60, 60}},
    {"LTO-6", 6, 2500 * kGigabyte, "L6", "LW", 136, kUpTo160, {12, 17, 62, 62}},
    {"LTO-7", 7, 6000 * kGigabyte, "L7", "LX", 112, kUpTo300, {15, 20, 56, 60}},
    {"M8", 7, 9000 * kGigabyte, "M8", "", 168, kUpTo300, {15, 24, 59, 59}},
    {"LTO-8", 8, 12000 * kGigabyte, "L8", "LY", 208, kUpTo360, {15, 24, 59, 59}},
    {"LTO-9", 9, 18000 * kGigabyte, "L9", "LZ", 280, kUpTo400, {16, 56, 65, 62}},
    {"LTO-10", 10, 30000 * kGigabyte, "LA", "", 280, kUpTo400, kNotPublished},
});

std::string_view MediumId(std::string_view barcode) {
  return barcode.size() > 2 ? barcode.substr(barcode.size() - 2) : std::string_view();
}

}  // namespace

const Generation* FindGeneration(std::string_view name) {
  for (const Generation& generation : kGenerations) {
    if (generation.name == name) {
      return &generation;
    }
  }
  return nullptr;
}

const Generation* GenerationOfBarcode(std::string_view barcode) {
  const std::string_view id = MediumId(barcode);
  for (const Generation& generation : kGenerations) {
    if (!id.empty() && (generation.medium_id == id || generation.worm_medium_id == id)) {
      return &generation;
    }
  }
  return nullptr;
}

bool IsWormBarcode(std::string_view barcode) {
  const Generation* const generation = GenerationOfBarcode(barcode);
  return generation != nullptr && generation->worm_medium_id == MediumId(barcode);
}

std::string GenerationNames() {
  std::string names;
  for (const Generation& generation : kGenerations) {
    names += (names.empty() ? "" : ", ") + std::string(generation.name);
  }
  return names;
}

bool CanRead(const Generation& drive, const Generation& cartridge) {
  if (cartridge.name == "M8") {
    return drive.number == 8;
  }
  const int back = drive.number <= 7 ? 2 : drive.number <= 9 ? 1 : 0;
  return cartridge.number <= drive.number && cartridge.number >= drive.number - back;
}

bool CanWrite(const Generation& drive, const Generation& cartridge) {
  return CanRead(drive, cartridge) && cartridge.number >= drive.number - 1;
}

}  // namespace capstan::tape
