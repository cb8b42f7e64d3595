// TapeLibrary: the fixture of tests that need an emulated library with a few cartridges.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "plugins/tape/emulator/emulated_changer.h"
#include "plugins/tape/emulator/emulated_drive.h"
#include "plugins/tape/emulator/emulated_library.h"
#include "tests/support/temporary_directory.h"

namespace capstan::tape {

inline std::vector<std::byte> Bytes(std::size_t size, unsigned seed = 1) {
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    seed = seed * 1'664'525U + 1'013'904'223U;
    byte = static_cast<std::byte>(seed >> 24U);
  }
  return bytes;
}

class TapeLibrary : public testing::Test {
 protected:
  // Two drives, four slots, one port, cartridges of 64 MiB.
  static LibraryParameters Small() {
    return {.generation = "LTO-8", .drives = 2, .slots = 4, .capacity_bytes = 64U << 20U};
  }

  void Create(const LibraryParameters& parameters = Small()) {
    const Failure failure = EmulatedLibrary::Create(path(), parameters, &library_);
    ASSERT_FALSE(failure.failed()) << failure.message;
  }

  void AddCartridge(CartridgeRecord record) {
    const Failure failure = library_.AddBlank(std::move(record));
    ASSERT_FALSE(failure.failed()) << failure.message;
  }

  // A library with cartridge CAP001L8, loaded in drive 0; the drive has told that it changed.
  void CreateLoaded(const LibraryParameters& parameters = Small(),
                    const DriveOptions& options = {}) {
    Create(parameters);
    AddCartridge({.barcode = "CAP001L8"});
    Insert("CAP001L8");
    drive_ = OpenDrive(0, options);
    EXPECT_EQ(drive_->Load().outcome, Outcome::kDone);
    EXPECT_EQ(drive_->TestReady().outcome, Outcome::kMediumChanged);
  }

  // From its slot into the drive; not loaded.
  void Insert(const std::string& barcode, std::uint32_t drive_index = 0) {
    EmulatedChanger changer(library_.store());
    std::vector<Element> elements;
    ASSERT_TRUE(changer.Inventory(&elements).done());
    for (const Element& element : elements) {
      if (element.barcode == barcode) {
        const Answer moved = changer.Move(element.address, EmulatedDriveAddress(drive_index));
        ASSERT_TRUE(moved.done()) << moved.failure.message;
      }
    }
  }

  std::unique_ptr<EmulatedDrive> OpenDrive(std::uint32_t index = 0,
                                           const DriveOptions& options = {}) {
    std::unique_ptr<EmulatedDrive> drive;
    const Failure failure = EmulatedDrive::Open(library_.store(), index, options, &drive);
    EXPECT_FALSE(failure.failed()) << failure.message;
    return drive;
  }

  // As after the end of a process: opened again, at the beginning.
  void Reopen(const DriveOptions& options = {}) {
    drive_.reset();
    drive_ = OpenDrive(0, options);
    ASSERT_NE(drive_, nullptr);
    EXPECT_EQ(drive_->TestReady().outcome, Outcome::kMediumChanged);
  }

  std::uint64_t PositionOf() {
    std::uint64_t object = UINT64_MAX;
    EXPECT_TRUE(drive_->Position(&object).done());
    return object;
  }

  std::string path() const { return directory_.Under("library"); }
  std::string ImagePath() const { return library_.store().ImagePath("CAP001L8"); }

  // In memory, where there is such a place: a library flushes a lot.
  test::TemporaryDirectory directory_{std::filesystem::exists("/dev/shm")
                                          ? std::string("/dev/shm")
                                          : std::filesystem::temp_directory_path().string()};
  EmulatedLibrary library_;
  std::unique_ptr<EmulatedDrive> drive_;
};

}  // namespace capstan::tape
