// What is known of media and drives without a device: facts, notes, claims, and cleaning, on an
// emulated library and on one in memory.
#include <array>
#include <atomic>
#include <cerrno>

#include <gmock/gmock.h>

#include "plugins/tape/drive_claim.h"
#include "plugins/tape/emulator/emulated_library.h"
#include "plugins/tape/hardware.h"
#include "plugins/tape/library_memory.h"
#include "plugins/tape/stat.h"
#include "plugins/tape/tape_device.h"
#include "tests/support/memory_drive.h"
#include "tests/support/temporary_directory.h"

namespace capstan::tape {
namespace {

using testing::HasSubstr;

CartridgeNote NoteAt(std::int64_t time, const std::string& drive = "vault/0") {
  return {.family = "f", .sequence = 2, .drive = drive, .token = "t-1", .used_unix_s = time};
}

TEST(TapeNotes, AreLinesOfText) {
  const CartridgeNote note = NoteAt(1234, "a b/7");
  const CartridgeNote read = ParseNote(FormatNote(note));
  EXPECT_EQ(read.family, "f");
  EXPECT_EQ(read.sequence, 2U);
  EXPECT_EQ(read.used_unix_s, 1234);
  EXPECT_EQ(read.token, "t-1");
  EXPECT_EQ(read.drive, "a b/7");
  for (const char* text : {"", "f", "f 2 1234", "f x y z w"}) {
    EXPECT_TRUE(ParseNote(text).family.empty()) << text;
  }
}

TEST(TapeNotes, OfRealLibrariesAreKeptInAFolder) {
  const test::TemporaryDirectory directory;
  CartridgeNote note;
  {
    NoteFolder folder(directory.Under("a/b"));
    EXPECT_TRUE(folder.lasts());
    EXPECT_FALSE(folder.ReadNote("A/../1", &note).failed());
    EXPECT_TRUE(note.family.empty());
    EXPECT_FALSE(folder.WriteNote("A/../1", NoteAt(5)).failed());
  }
  NoteFolder again(directory.Under("a/b"));
  EXPECT_FALSE(again.ReadNote("A/../1", &note).failed());
  EXPECT_EQ(note.used_unix_s, 5);
  NoteFolder nowhere("/proc/none");
  EXPECT_NE(nowhere.WriteNote("A", note).os_error, 0);
  NoteFolder passing("");
  EXPECT_FALSE(passing.lasts());
  EXPECT_FALSE(passing.WriteNote("A", NoteAt(7)).failed());
  EXPECT_FALSE(passing.ReadNote("A", &note).failed());
  EXPECT_EQ(note.used_unix_s, 7);
}

TEST(DriveClaim, KeepsTheSecondJobAway) {
  DriveClaim first;
  ASSERT_FALSE(DriveClaim::Take("claimed/0", "job 'a'", std::chrono::seconds(0), &first).failed());
  {
    DriveClaim second;
    const Failure busy =
        DriveClaim::Take("claimed/0", "job 'b'", std::chrono::milliseconds(1), &second);
    EXPECT_EQ(busy.os_error, EBUSY);
    EXPECT_TRUE(busy.transient);
    EXPECT_THAT(busy.message, HasSubstr("'claimed/0': it is used by job 'a'"));
    EXPECT_FALSE(
        DriveClaim::Take("claimed/1", "job 'b'", std::chrono::seconds(0), &second).failed());
  }
  first = DriveClaim();
  EXPECT_FALSE(DriveClaim::Take("claimed/0", "job 'b'", std::chrono::seconds(10), &first).failed());
}

class EmulatedTest : public testing::Test {
 protected:
  void SetUp() override {
    Check(EmulatedLibrary::Create(
        directory_.Under("vault"),
        {.drives = 2, .slots = 4, .capacity_bytes = 16U << 20U, .cleaning_after_loads = 1},
        &library_));
    Check(configuration_.Set("library.vault", directory_.Under("vault")));
    Check(configuration_.Find("\\\\.\\Tape0", &address_));
  }
  static void Check(const Failure& failure) { ASSERT_FALSE(failure.failed()) << failure.message; }

  MediumFacts Facts(bool with_drive = true) {
    std::unique_ptr<TapeDrive> drive;
    std::unique_ptr<Shelf> shelf;
    Check(OpenShelf(address_, &shelf));
    if (with_drive) {
      Check(OpenDrive(address_, &drive));
    }
    MediumFacts facts;
    Check(FindFacts("vault/0", drive.get(), shelf.get(), MemoryOf(address_, ""), &facts));
    return facts;
  }
  void WriteMedium(bool eject) {
    TapeDevice::Parts parts{.name = "vault/0",
                            .memory = MemoryOf(address_, ""),
                            .block_size = 65536,
                            .eject_when_done = eject};
    Check(OpenDrive(address_, &parts.drive));
    Check(OpenShelf(address_, &parts.shelf));
    capstan_open_params params{};
    params.mode = CAPSTAN_OPEN_REPLACE;
    params.token = "t-9";
    params.max_transfer_size = 1U << 20U;
    std::unique_ptr<TapeDevice> device;
    Check(TapeDevice::Open(std::move(parts), params, &device));
    std::vector<std::byte> bytes(1U << 20U);
    std::array<capstan_request, 2> requests{};
    std::atomic<int> done{0};
    for (capstan_request& request : requests) {
      request.op = &request == requests.data() ? CAPSTAN_OP_WRITE : CAPSTAN_OP_COMPLETE;
      request.buffer = bytes.data();
      request.size = static_cast<std::uint32_t>(bytes.size());
      request.context = &done;
      request.complete = [](capstan_request* each) {
        EXPECT_EQ(each->completion_code, CAPSTAN_E_OK) << each->error.message;
        ++*static_cast<std::atomic<int>*>(each->context);
      };
      Check(device->Submit(&request));
    }
    Check(device->Close(CAPSTAN_OUTCOME_DONE));
    EXPECT_EQ(done, 2);
  }
  std::string InDrive() {
    std::vector<DriveView> drives;
    Check(library_.Drives(&drives));
    return drives[0].barcode;
  }

  test::TemporaryDirectory directory_;
  EmulatedLibrary library_;
  Configuration configuration_;
  DriveAddress address_;
};

TEST_F(EmulatedTest, FactsAreToldOfWhatTheDriveMeans) {
  EXPECT_FALSE(Facts().exists) << "an empty library";
  Check(library_.AddBlank({.barcode = "CAP001L8"}));
  EXPECT_FALSE(Facts().exists);
  EXPECT_EQ(InDrive(), "") << "nothing is moved to find that out";

  WriteMedium(false);
  EXPECT_EQ(InDrive(), "CAP001L8");
  for (const bool with_drive : {true, false}) {
    const MediumFacts facts = Facts(with_drive);
    EXPECT_TRUE(facts.exists);
    EXPECT_GE(facts.size_bytes, 1U << 20U);
    EXPECT_LE(facts.size_bytes, 2U << 20U);
    EXPECT_LE(facts.free_bytes, 15U << 20U);
    EXPECT_GT(facts.used_unix_s, 0);
  }

  // In its slot again it is still what the drive means.
  WriteMedium(true);
  EXPECT_EQ(InDrive(), "");
  EXPECT_TRUE(Facts().exists);
}

TEST_F(EmulatedTest, AWritingIsKnownByItsToken) {
  Check(library_.AddBlank({.barcode = "CAP001L8"}));
  WriteMedium(false);
  std::unique_ptr<Shelf> shelf;
  Check(OpenShelf(address_, &shelf));

  EXPECT_FALSE(FindWriting(*shelf, *MemoryOf(address_, ""), "t-9").failed());
  EXPECT_EQ(FindWriting(*shelf, *MemoryOf(address_, ""), "t-8").os_error, ENOENT);
  NoteFolder passing("");
  EXPECT_FALSE(FindWriting(*shelf, passing, "t-8").failed());
}

// The drive of this library wants to be cleaned after each load.
TEST_F(EmulatedTest, ADriveIsCleanedByItself) {
  Check(library_.AddBlank({.barcode = "CAP001L8"}));
  CartridgeRecord cleaning{.barcode = "CLN001L1", .kind = CartridgeKind::kCleaning};
  cleaning.cleanings_left = 50;
  Check(library_.AddBlank(cleaning));
  WriteMedium(false);
  std::vector<DriveView> drives;
  Check(library_.Drives(&drives));
  ASSERT_TRUE(drives[0].wear.cleaning_needed);

  WriteMedium(false);

  EXPECT_EQ(InDrive(), "CAP001L8");
  CartridgeRecord record;
  Check(library_.store().ReadCartridge("CLN001L1", &record));
  EXPECT_EQ(record.cleanings_left, 49U);
}

TEST(TapeFacts, OfABusyDriveAreOftenUnknown) {
  MediumFacts facts;
  test::MemoryLibrary library(1, 1);
  library.PutIntoDrive(0, &library.Add({.barcode = "A00001L8"}));
  Shelf shelf(std::make_unique<test::MemoryChanger>(library), 0);
  test::MemoryNotes notes;

  const Failure busy = FindFacts("vault/0", nullptr, &shelf, &notes, &facts);

  EXPECT_EQ(busy.os_error, EBUSY);
  EXPECT_TRUE(busy.transient);
  Shelf none(std::make_unique<test::MemoryChanger>(library), 7);
  EXPECT_EQ(FindFacts("vault/7", nullptr, &none, &notes, &facts).os_error, ENXIO);
}

}  // namespace
}  // namespace capstan::tape
