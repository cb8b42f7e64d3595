// The library: its elements and cartridges, and several processes at once.
#include <csignal>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/plugins/tape/emulator/library_fixture.h"

namespace capstan::tape {
namespace {

using testing::HasSubstr;

class Library : public TapeLibrary {
 protected:
  // Runs `body` in another process up to its end; its exit status.
  template <typename Body>
  static int InChild(Body body) {
    const pid_t child = ::fork();
    if (child == 0) {
      body();
      ::_exit(0);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
  }

  std::uint32_t PlaceOf(const std::string& barcode) {
    CartridgeView view;
    EXPECT_FALSE(library_.Find(barcode, &view).failed());
    return view.address;
  }

  std::string remark_;
  std::uint32_t to_ = 0;
};

TEST_F(Library, IsMadeOnlyInAFolderOfItsOwn) {
  Create();
  const Failure again = EmulatedLibrary::Create(path(), Small(), &library_);
  EXPECT_EQ(again.os_error, EEXIST);
  EXPECT_THAT(again.message, HasSubstr("is not empty"));
  EmulatedLibrary other;
  const Failure none = EmulatedLibrary::Open(directory_.Under("none"), &other);
  EXPECT_EQ(none.os_error, ENOENT);
  EXPECT_THAT(none.hint, HasSubstr("capstan tape library create"));
}

TEST_F(Library, ParametersThatMakeNoSenseAreRefused) {
  std::vector<LibraryParameters> bad(6, Small());
  bad[0].generation = "LTO-0";
  bad[1].time_model = "LTO-2";
  bad[2].drives = 0;
  bad[3].slots = 5000;
  bad[4].block_size_max = 9U << 20U;
  bad[5].clock_scale = 2;
  for (const LibraryParameters& parameters : bad) {
    const Failure failure = EmulatedLibrary::Create(path(), parameters, &library_);
    EXPECT_EQ(failure.os_error, EINVAL);
    EXPECT_NE(failure.hint, "");
  }
}

TEST_F(Library, FilesThatAPersonChangedWronglyAreNamed) {
  Create();
  AddCartridge({.barcode = "CAP001L8"});
  for (const auto& [text, what] :
       {std::pair{"slots = 'x'", "'slots' in line 1"}, std::pair{"slots = -1", "'slots' in line 1"},
        std::pair{"colour = 1", "'colour' in line 1"}, std::pair{"slots =", "is no TOML"},
        std::pair{"drives = 0", "in '"}}) {
    std::ofstream(path() + "/library.toml") << text;
    EmulatedLibrary other;
    const Failure failure = EmulatedLibrary::Open(path(), &other);
    EXPECT_THAT(failure.message, HasSubstr(what));
    EXPECT_THAT(failure.message, HasSubstr("library.toml"));
  }
  std::ofstream(library_.store().RecordPath("CAP001L8")) << "generation = 'LTO-0'";
  CartridgeView view;
  EXPECT_THAT(library_.Find("CAP001L8", &view).message, HasSubstr("names no generation"));
  std::ofstream(path() + "/elements.toml") << "[[element]]\naddress = 1\nbarcode = '../x'\n";
  EXPECT_THAT(library_.Find("CAP001L8", &view).message, HasSubstr("element"));
}

TEST_F(Library, CartridgesComeInMoveAndGo) {
  Create();
  AddCartridge({.barcode = "CAP001L8"});
  AddCartridge({.barcode = "CAP002L7"});
  EXPECT_EQ(library_.AddBlank({.barcode = "CAP001L8"}).os_error, EEXIST);
  EXPECT_EQ(library_.AddBlank({.barcode = "no/barcode"}).os_error, EINVAL);
  EXPECT_EQ(PlaceOf("CAP001L8"), kFirstSlotAddress);

  ASSERT_FALSE(library_.Load("CAP001L8", 1, &remark_).failed());
  EXPECT_EQ(PlaceOf("CAP001L8"), EmulatedDriveAddress(1));
  EXPECT_EQ(library_.Eject("CAP001L8", EmulatedLibrary::Exit::kPort).os_error, EBUSY);
  EXPECT_EQ(library_.Erase("CAP001L8").os_error, EBUSY);
  EXPECT_THAT(library_.Load("CAP002L7", 1, &remark_).message, HasSubstr("drive 1 is full"));
  ASSERT_FALSE(library_.Unload(1, &to_).failed());
  EXPECT_EQ(to_, kFirstSlotAddress);
  EXPECT_THAT(library_.Unload(1, &to_).message, HasSubstr("no cartridge in drive 1"));
  EXPECT_EQ(library_.Load("CAP001L8", 2, &remark_).os_error, ENXIO);

  ASSERT_FALSE(library_.Eject("CAP001L8", EmulatedLibrary::Exit::kPort).failed());
  EXPECT_EQ(PlaceOf("CAP001L8"), kFirstPortAddress);
  EXPECT_EQ(library_.Eject("CAP002L7", EmulatedLibrary::Exit::kPort).os_error, ENOSPC);
  ASSERT_FALSE(library_.Eject("CAP002L7", EmulatedLibrary::Exit::kOutside).failed());
  EXPECT_EQ(PlaceOf("CAP002L7"), 0U);
  EXPECT_EQ(library_.Eject("CAP002L7", EmulatedLibrary::Exit::kOutside).os_error, ENOENT);
  EXPECT_EQ(library_.Load("CAP002L7", 0, &remark_).os_error, ENOENT);
  ASSERT_FALSE(library_.Insert("CAP002L7").failed());
  ASSERT_FALSE(library_.Insert("CAP001L8").failed());
  EXPECT_EQ(library_.Insert("CAP001L8").os_error, EEXIST);
  EXPECT_EQ(library_.Insert("CAP009L8").os_error, ENOENT);
}

TEST_F(Library, SlotsRunOut) {
  Create();
  for (const char* const barcode : {"A1", "A2", "A3", "A4"}) {
    AddCartridge({.barcode = barcode});
  }
  EXPECT_EQ(library_.AddBlank({.barcode = "A5"}).os_error, ENOSPC);
  std::vector<CartridgeView> cartridges;
  ASSERT_FALSE(library_.List(&cartridges).failed());
  EXPECT_EQ(cartridges.size(), 4U);
}

TEST_F(Library, ImagesComeInAndBlankCartridgesAreErased) {
  CreateLoaded();
  ASSERT_TRUE(drive_->Write(Bytes(1000)).done());
  ASSERT_TRUE(drive_->WriteFilemarks(1).done());
  ASSERT_TRUE(drive_->Unload().done());
  const std::string copy = directory_.Under("OLD001L8.tap");
  std::filesystem::copy_file(ImagePath(), copy);
  std::ofstream(directory_.Under("text.tap")) << "This is no tape at all.";

  ASSERT_FALSE(library_.ImportImage(copy, "").failed());
  EXPECT_EQ(library_.ImportImage(directory_.Under("text.tap"), "B1").os_error, EINVAL);
  EXPECT_EQ(library_.ImportImage(directory_.Under("none.tap"), "B1").os_error, ENOENT);

  CartridgeView view;
  ASSERT_FALSE(library_.Find("OLD001L8", &view).failed());
  EXPECT_EQ(view.used_bytes, 1012U);
  EXPECT_EQ(view.record.recorded_bytes, 1012U);
  ASSERT_FALSE(SetNote(path(), "OLD001L8", "family", "x").failed());
  ASSERT_FALSE(library_.Erase("OLD001L8").failed());
  ASSERT_FALSE(library_.Find("OLD001L8", &view).failed());
  EXPECT_EQ(view.used_bytes, 0U);
  EXPECT_TRUE(view.record.notes.empty());
  AddCartridge({.barcode = "WRM001LY"});
  EXPECT_EQ(library_.Erase("WRM001LY").os_error, EROFS);
}

TEST_F(Library, NotesStayWithTheCartridge) {
  CreateLoaded();
  ASSERT_FALSE(SetNote(path(), "CAP001L8", "family", "{1234}\n\"2\"").failed());
  ASSERT_TRUE(drive_->Write(Bytes(10)).done());
  ASSERT_TRUE(drive_->Unload().done());
  std::string value;
  ASSERT_FALSE(NoteOf(path(), "CAP001L8", "family", &value).failed());
  EXPECT_EQ(value, "{1234}\n\"2\"");
  ASSERT_FALSE(SetNote(path(), "CAP001L8", "family", "").failed());
  ASSERT_FALSE(NoteOf(path(), "CAP001L8", "family", &value).failed());
  EXPECT_EQ(value, "");
  EXPECT_EQ(NoteOf(path(), "CAP009L8", "family", &value).os_error, ENOENT);
  EXPECT_EQ(SetNote(directory_.Under("none"), "CAP009L8", "a", "b").os_error, ENOENT);
}

TEST_F(Library, ChangerSaysWhatCannotBeMoved) {
  Create();
  AddCartridge({.barcode = "CAP001L8"});
  AddCartridge({.barcode = "CAP002L8"});
  std::unique_ptr<MediumChanger> changer;
  ASSERT_FALSE(OpenEmulatedChanger(path(), &changer).failed());
  const std::uint32_t drive = EmulatedDriveAddress(0);

  EXPECT_EQ(changer->Move(kFirstSlotAddress + 9, drive).outcome, Outcome::kHardwareError);
  EXPECT_EQ(changer->Move(kFirstSlotAddress + 3, drive).outcome, Outcome::kNoMedium);
  ASSERT_EQ(changer->Move(kFirstSlotAddress, drive).outcome, Outcome::kDone);
  const Answer full = changer->Move(kFirstSlotAddress + 1, drive);
  EXPECT_EQ(full.outcome, Outcome::kHardwareError);
  EXPECT_THAT(full.failure.message, HasSubstr("drive 0 is full: 'CAP001L8'"));
  drive_ = OpenDrive();
  ASSERT_TRUE(drive_->Load().done());
  const Answer held = changer->Move(drive, kFirstSlotAddress);
  EXPECT_EQ(held.outcome, Outcome::kBusy);
  EXPECT_THAT(held.failure.message, HasSubstr("by process " + std::to_string(::getpid())));
  ASSERT_TRUE(drive_->Unload().done());
  EXPECT_EQ(changer->Move(drive, kFirstSlotAddress).outcome, Outcome::kDone);
  std::vector<Element> elements;
  ASSERT_TRUE(changer->Inventory(&elements).done());
  ASSERT_EQ(elements.size(), 1U + 2 + 1 + 4);
  EXPECT_EQ(elements[4].barcode, "CAP001L8");
  EXPECT_EQ(elements[4].source_address, drive);
}

TEST_F(Library, DriveHasOneUserAmongAllProcesses) {
  Create();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::unique_ptr<TapeDrive> drive;
    const bool failed = OpenEmulatedDrive(path(), 0, &drive).failed();
    (void)!::write(ready[1], failed ? "f" : "o", 1);
    ::pause();
    ::_exit(1);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'o');
  std::unique_ptr<TapeDrive> drive;

  const Failure failure = OpenEmulatedDrive(path(), 0, &drive);

  EXPECT_EQ(failure.os_error, EBUSY);
  EXPECT_TRUE(failure.transient);
  EXPECT_THAT(failure.message, HasSubstr("is in use by process " + std::to_string(child)));
  EXPECT_FALSE(OpenEmulatedDrive(path(), 1, &drive).failed());
  std::vector<DriveView> drives;
  ASSERT_FALSE(library_.Drives(&drives).failed());
  EXPECT_EQ(drives[0].process, child);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(OpenEmulatedDrive(path(), 0, &drive).failed());
  ::close(ready[0]);
  ::close(ready[1]);
}

// A process that dies with a cartridge in its drive: what it had flushed is there, the drive is
// free, and the changer can take the cartridge out.
TEST_F(Library, WhatADeadProcessHadFlushedIsThere) {
  Create();
  AddCartridge({.barcode = "CAP001L8"});
  Insert("CAP001L8");
  InChild([this] {
    const auto drive = OpenDrive();
    (void)drive->TestReady();
    (void)drive->Write(Bytes(1000));
    (void)drive->WriteFilemarks(1);
    (void)drive->Write(Bytes(2000));
    ::kill(::getpid(), SIGKILL);
  });
  EmulatedChanger changer(library_.store());
  ASSERT_EQ(changer.Move(EmulatedDriveAddress(0), kFirstSlotAddress).outcome, Outcome::kDone);

  ASSERT_FALSE(library_.Load("CAP001L8", 1, &remark_).failed());

  drive_ = OpenDrive(1);
  ASSERT_EQ(drive_->TestReady().outcome, Outcome::kMediumChanged);
  std::vector<std::byte> buffer(1000);
  ASSERT_EQ(drive_->Read(buffer).outcome, Outcome::kDone);
  EXPECT_EQ(buffer, Bytes(1000));
  EXPECT_EQ(drive_->Read(buffer).outcome, Outcome::kFilemark);
}

// Four processes move whatever they find; no cartridge is lost, and none is in two places.
TEST_F(Library, MovesOfSeveralProcessesNeverLoseACartridge) {
  Create();
  AddCartridge({.barcode = "CAP001L8"});
  AddCartridge({.barcode = "CAP002L8"});
  std::vector<pid_t> children;
  for (unsigned seed = 0; seed < 4; ++seed) {
    const pid_t child = ::fork();
    if (child == 0) {
      EmulatedChanger changer(library_.store());
      for (unsigned i = 0; i < 50; ++i) {
        const unsigned from = (seed * 7 + i * 5) % 4;
        (void)changer.Move(kFirstSlotAddress + from, kFirstSlotAddress + (from + 1 + i % 3) % 4);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  std::vector<Element> elements;
  ASSERT_FALSE(library_.Inventory(&elements).failed());
  std::vector<std::string> found;
  for (const Element& element : elements) {
    if (element.full) {
      found.push_back(element.barcode);
    }
  }
  EXPECT_THAT(found, testing::UnorderedElementsAre("CAP001L8", "CAP002L8"));
}

TEST_F(Library, DriveTellsWhatItsMechanicsWouldHaveTaken) {
  LibraryParameters parameters = Small();
  parameters.time_model = "LTO-8";
  CreateLoaded(parameters);
  ASSERT_TRUE(drive_->Write(Bytes(1000)).done());
  ASSERT_TRUE(drive_->WriteFilemarks(1).done());
  ASSERT_TRUE(drive_->Rewind().done());

  // 15 s to load it; rewinding settles for 3 s.
  EXPECT_GT(drive_->status().medium_time_us, 18'000'000U);
  EXPECT_LT(drive_->status().medium_time_us, 19'000'000U);
  EXPECT_EQ(drive_->status().stops, 0U);
}

}  // namespace
}  // namespace capstan::tape
