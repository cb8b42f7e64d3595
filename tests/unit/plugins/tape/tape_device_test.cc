#include "plugins/tape/tape_device.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include <gmock/gmock.h>

#include "tests/support/memory_drive.h"

namespace capstan::tape {
namespace {

using std::chrono::steady_clock;
using test::MemoryCartridge;
using test::MemoryLibrary;
using testing::HasSubstr;

constexpr std::uint32_t kBlock = 4096;

std::vector<std::byte> Bytes(std::size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 7 + seed * 31 + i / 251) & 0xFFU);
  }
  return bytes;
}

MemoryCartridge Written(const std::string& barcode, unsigned seed) {
  MemoryCartridge cartridge{.barcode = barcode};
  cartridge.objects.emplace_back(Bytes(kBlock, seed));
  cartridge.objects.emplace_back(std::nullopt);
  return cartridge;
}

// A request, and its end.
struct Sent {
  explicit Sent(std::int32_t op, std::uint32_t size = 0, void* buffer = nullptr) {
    request.op = op;
    request.size = size;
    request.buffer = buffer;
    request.context = this;
    request.complete = [](capstan_request* done) {
      auto* self = static_cast<Sent*>(done->context);
      const std::lock_guard lock(self->mutex);
      self->completed = true;
      self->changed.notify_all();
    };
  }
  bool WaitFor(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, time, [this] { return completed; });
  }
  std::uint32_t Wait() {
    EXPECT_TRUE(WaitFor(std::chrono::seconds(10)));
    return request.completion_code;
  }

  capstan_request request{};
  std::mutex mutex;
  std::condition_variable changed;
  bool completed = false;  // guarded by mutex
};

class TapeDeviceTest : public testing::Test {
 protected:
  enum class Changing { kByRobot, kByHand };

  Failure Open(std::uint32_t mode, std::unique_ptr<TapeDevice>* device,
               Changing changing = Changing::kByRobot, bool eject_when_done = false) {
    TapeDevice::Parts parts{.name = "vault/0",
                            .drive = std::make_unique<test::MemoryDrive>(library_, 0, options_),
                            .memory = &notes_,
                            .block_size = kBlock,
                            .eject_when_done = eject_when_done};
    if (changing == Changing::kByRobot) {
      parts.shelf = std::make_unique<Shelf>(std::make_unique<test::MemoryChanger>(library_), 0);
    }
    capstan_open_params params{};
    params.mode = mode;
    params.max_transfer_size = 1U << 20U;
    return TapeDevice::Open(std::move(parts), params, device);
  }
  std::unique_ptr<TapeDevice> MustOpen(std::uint32_t mode, Changing changing = Changing::kByRobot) {
    std::unique_ptr<TapeDevice> device;
    const Failure failure = Open(mode, &device, changing);
    EXPECT_FALSE(failure.failed()) << failure.message;
    return device;
  }
  int OpenError(std::uint32_t mode, const std::string& words) {
    std::unique_ptr<TapeDevice> device;
    const Failure failure = Open(mode, &device);
    EXPECT_THAT(failure.message, HasSubstr(words));
    if (device) {
      EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DISCARD).failed());
    }
    return failure.os_error;
  }
  static std::uint32_t Run(TapeDevice& device, std::int32_t op, std::uint32_t size = 0) {
    Sent sent(op, size);
    EXPECT_FALSE(device.Submit(&sent.request).failed());
    return sent.Wait();
  }
  static std::uint32_t Write(TapeDevice& device, unsigned seed, std::size_t size = kBlock) {
    auto bytes = Bytes(size, seed);
    Sent sent(CAPSTAN_OP_WRITE, static_cast<std::uint32_t>(size), bytes.data());
    EXPECT_FALSE(device.Submit(&sent.request).failed());
    return sent.Wait();
  }
  static bool Reads(TapeDevice& device, unsigned seed) {
    std::vector<std::byte> bytes(kBlock);
    Sent sent(CAPSTAN_OP_READ, kBlock, bytes.data());
    EXPECT_FALSE(device.Submit(&sent.request).failed());
    return sent.Wait() == 0 && bytes == Bytes(kBlock, seed);
  }
  static capstan_device_status StatusOf(TapeDevice& device) {
    capstan_device_status status{};
    device.Status(&status);
    return status;
  }
  // What it waits for, once that is a medium.
  static std::string WaitForWords(TapeDevice& device) {
    const auto end = steady_clock::now() + std::chrono::seconds(10);
    std::string words;
    while (words.find("medium ") == std::string::npos && steady_clock::now() < end) {
      words = StatusOf(device).waits_for;
      std::this_thread::yield();
    }
    return words;
  }
  // A family over A00001L8 and A00002L8, of one block each; what did not fit is left in drive 0.
  void WriteTwoMedia() {
    const auto device = MustOpen(CAPSTAN_OPEN_CREATE);
    EXPECT_EQ(Write(*device, 1), 0U);
    EXPECT_EQ(Run(*device, CAPSTAN_OP_LOAD, 2), 0U);
    EXPECT_EQ(Write(*device, 2), 0U);
    EXPECT_EQ(Run(*device, CAPSTAN_OP_COMPLETE), 0U);
    EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DONE).failed());
  }

  MemoryLibrary library_{2, 4};
  test::MemoryDriveOptions options_;
  test::MemoryNotes notes_;
};

TEST_F(TapeDeviceTest, CreateTakesTheFirstCartridgeThatCanBeWritten) {
  library_.Add(Written("A00001L8", 1));
  library_.Add({.barcode = "A00002L8", .write_protected = true});
  library_.Add({.barcode = "CLN003L1"});
  MemoryCartridge& blank = library_.Add({.barcode = "A00004L8"});

  const auto device = MustOpen(CAPSTAN_OPEN_CREATE);

  EXPECT_EQ(library_.InDrive(0), &blank);
  EXPECT_STREQ(StatusOf(*device).medium, "A00004L8");
  EXPECT_STREQ(StatusOf(*device).mode, "memory");
  EXPECT_EQ(StatusOf(*device).stops, 7U);
  EXPECT_EQ(StatusOf(*device).medium_time_us, 42U);
  EXPECT_EQ(Write(*device, 1), 0U);
  EXPECT_EQ(Run(*device, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DONE).failed());
}

TEST_F(TapeDeviceTest, OpeningSaysWhyItCannotBe) {
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_CREATE, "none in the library that can be written"), ENOMEDIUM);
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_READ, "drive 'vault/0': there is no cartridge in it"),
            ENOMEDIUM);

  MemoryCartridge& cartridge = library_.Add({.barcode = "A00001L8"});
  library_.PutIntoDrive(0, &cartridge);
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_READ, "'A00001L8' is blank"), ENOENT);
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_APPEND, "'A00001L8' is blank"), ENOENT);
  cartridge.objects = Written("", 1).objects;
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_CREATE, "'A00001L8' is not blank"), EEXIST);
  cartridge.write_protected = true;
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_REPLACE, "write-protected"), EROFS);
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_APPEND, "write-protected"), EROFS);
  cartridge.write_protected = false;
  cartridge.worm = true;
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_REPLACE, "written once"), EPERM);
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_APPEND, ""), 0);
  cartridge.incompatible = true;
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_READ, "cannot use this cartridge"), EMEDIUMTYPE);
  options_.fault = [](const std::string&) { return Outcome::kHardwareError; };
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_READ, "defective"), EIO);
}

TEST_F(TapeDeviceTest, ABlankCartridgeWithoutMemoryIsFoundOutByReading) {
  MemoryCartridge& cartridge = library_.Add({.barcode = "A00001L8", .tells_room = false});
  library_.PutIntoDrive(0, &cartridge);

  EXPECT_EQ(OpenError(CAPSTAN_OPEN_READ, "is blank"), ENOENT);
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_CREATE, ""), 0);
  cartridge.objects = Written("", 1).objects;
  EXPECT_EQ(OpenError(CAPSTAN_OPEN_CREATE, "is not blank"), EEXIST);
}

TEST_F(TapeDeviceTest, AFamilyGoesOnAndIsFoundAgain) {
  library_.Add({.barcode = "A00001L8"});
  MemoryCartridge& second = library_.Add({.barcode = "A00002L8"});
  library_.Add(Written("A00003L8", 9));
  WriteTwoMedia();
  ASSERT_EQ(library_.InDrive(0), &second);
  CartridgeNote note;
  ASSERT_FALSE(notes_.ReadNote("A00002L8", &note).failed());
  EXPECT_EQ(note.sequence, 2U);
  EXPECT_EQ(note.drive, "vault/0");
  EXPECT_EQ(note.family.size(), 32U);

  const auto reader = MustOpen(CAPSTAN_OPEN_READ);
  EXPECT_TRUE(Reads(*reader, 2));
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_LOAD, 1), 0U);
  EXPECT_TRUE(Reads(*reader, 1));
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_LOAD, 2), 0U);
  EXPECT_TRUE(Reads(*reader, 2));
  EXPECT_FALSE(reader->Close(CAPSTAN_OUTCOME_DONE).failed());
}

// Media of the family that is being overwritten are free, others are not.
TEST_F(TapeDeviceTest, ReplaceWritesOverTheOldFamily) {
  MemoryCartridge& first = library_.Add({.barcode = "A00001L8"});
  MemoryCartridge& second = library_.Add({.barcode = "A00002L8"});
  WriteTwoMedia();
  library_.PutIntoDrive(0, &first);
  library_.Add(Written("A00003L8", 3));
  // Where the first one was put into the drive by hand, the second one is out: bring it back.
  const auto device = MustOpen(CAPSTAN_OPEN_REPLACE);
  EXPECT_EQ(Write(*device, 7), 0U);
  Sent load(CAPSTAN_OP_LOAD, 2);
  ASSERT_FALSE(device->Submit(&load.request).failed());
  EXPECT_THAT(WaitForWords(*device), HasSubstr("medium 2 of the family on A00001L8"));

  library_.PutIntoDrive(0, &second);
  EXPECT_EQ(load.Wait(), 0U);
  EXPECT_EQ(library_.InDrive(0), &second);
  EXPECT_EQ(Write(*device, 8), 0U);
  EXPECT_EQ(Run(*device, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DONE).failed());
}

// Where a set goes on is found out by reading, with the device that is to write.
TEST_F(TapeDeviceTest, AppendLoadsMediaOfTheFamilyBeforeBlankOnes) {
  MemoryCartridge& first = library_.Add({.barcode = "A00001L8"});
  MemoryCartridge& second = library_.Add({.barcode = "A00002L8"});
  MemoryCartridge& blank = library_.Add({.barcode = "A00003L8"});
  WriteTwoMedia();
  const auto device = MustOpen(CAPSTAN_OPEN_APPEND);

  EXPECT_EQ(Run(*device, CAPSTAN_OP_LOAD, 1), 0U);
  EXPECT_EQ(library_.InDrive(0), &first);
  EXPECT_TRUE(Reads(*device, 1));
  EXPECT_EQ(Run(*device, CAPSTAN_OP_LOAD, 2), 0U);
  EXPECT_EQ(library_.InDrive(0), &second);
  EXPECT_EQ(Run(*device, CAPSTAN_OP_LOAD, 3), 0U);
  EXPECT_EQ(library_.InDrive(0), &blank);
  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DISCARD).failed());
  // It was to be the third, though nothing got there.
  const auto reader = MustOpen(CAPSTAN_OPEN_REPLACE);
  CartridgeNote note;
  ASSERT_FALSE(notes_.ReadNote("A00003L8", &note).failed());
  EXPECT_EQ(note.sequence, 3U);
  EXPECT_FALSE(reader->Close(CAPSTAN_OUTCOME_DISCARD).failed());
}

TEST_F(TapeDeviceTest, LoadWaitsForACartridgeAndSaysForWhich) {
  library_.Add({.barcode = "A00001L8"});
  const auto device = MustOpen(CAPSTAN_OPEN_CREATE);
  EXPECT_EQ(Write(*device, 1), 0U);
  Sent load(CAPSTAN_OP_LOAD, 2);
  ASSERT_FALSE(device->Submit(&load.request).failed());

  EXPECT_EQ(WaitForWords(*device),
            "medium 2 of the family on A00001L8: import a blank cartridge or load it by hand");
  MemoryCartridge& imported = library_.Add({.barcode = "A00002L8"});
  EXPECT_EQ(load.Wait(), 0U);
  EXPECT_EQ(library_.InDrive(0), &imported);
  EXPECT_STREQ(StatusOf(*device).waits_for, "");
  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DISCARD).failed());
}

TEST_F(TapeDeviceTest, AWaitEndsWithTheDevice) {
  library_.Add({.barcode = "A00001L8"});
  const auto device = MustOpen(CAPSTAN_OPEN_CREATE);
  EXPECT_EQ(Write(*device, 1), 0U);
  Sent load(CAPSTAN_OP_LOAD, 2);
  Sent flush(CAPSTAN_OP_FLUSH);
  ASSERT_FALSE(device->Submit(&load.request).failed());
  ASSERT_FALSE(device->Submit(&flush.request).failed());
  EXPECT_NE(WaitForWords(*device), "");
  const auto begin = steady_clock::now();

  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_KEEP).failed());

  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(load.Wait(), CAPSTAN_E_ABORTED);
  EXPECT_EQ(flush.Wait(), CAPSTAN_E_ABORTED);
}

TEST_F(TapeDeviceTest, AnOperatorChangesTheCartridgeOfADriveThatStandsAlone) {
  MemoryCartridge& first = library_.Add({.barcode = "A00001L8"});
  MemoryCartridge& wrong = library_.Add(Written("A00002L8", 9));
  MemoryCartridge& second = library_.Add({.barcode = "A00003L8"});
  library_.PutIntoDrive(0, &first);
  const auto device = MustOpen(CAPSTAN_OPEN_CREATE, Changing::kByHand);
  EXPECT_EQ(Write(*device, 1), 0U);
  Sent load(CAPSTAN_OP_LOAD, 2);
  ASSERT_FALSE(device->Submit(&load.request).failed());
  EXPECT_EQ(WaitForWords(*device),
            "medium 2 of the family on A00001L8: put a blank cartridge into the drive");

  library_.PutIntoDrive(0, &wrong);
  const auto end = steady_clock::now() + std::chrono::seconds(10);
  while (std::string(StatusOf(*device).waits_for).find("'A00002L8' is not blank") ==
             std::string::npos &&
         steady_clock::now() < end) {
    std::this_thread::yield();
  }
  EXPECT_THAT(StatusOf(*device).waits_for, HasSubstr("'A00002L8' is not blank"));
  EXPECT_FALSE(load.WaitFor(std::chrono::milliseconds(0)));
  library_.PutIntoDrive(0, &second);
  EXPECT_EQ(load.Wait(), 0U);
  EXPECT_EQ(Write(*device, 2), 0U);
  EXPECT_EQ(wrong.objects.size(), 2U) << "what is on it was not touched";
  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DISCARD).failed());
}

TEST_F(TapeDeviceTest, WithoutNotesTheNextOnesAreTried) {
  library_.Add(Written("B00007L8", 1));
  MemoryCartridge& mounted = library_.Add(Written("B00008L8", 2));
  library_.Add(Written("B00009L8", 3));
  library_.PutIntoDrive(0, &mounted);
  const auto reader = MustOpen(CAPSTAN_OPEN_READ);
  EXPECT_TRUE(Reads(*reader, 2));

  EXPECT_EQ(Run(*reader, CAPSTAN_OP_LOAD, 3), 0U);

  EXPECT_FALSE(Reads(*reader, 2));
  EXPECT_FALSE(reader->Close(CAPSTAN_OUTCOME_DONE).failed());
}

TEST_F(TapeDeviceTest, TheCartridgeGoesBackWhenThatIsWished) {
  MemoryCartridge& cartridge = library_.Add({.barcode = "A00001L8"});
  library_.Add({.barcode = "A00002L8"});
  std::unique_ptr<TapeDevice> device;
  ASSERT_FALSE(Open(CAPSTAN_OPEN_CREATE, &device, Changing::kByRobot, true).failed());
  EXPECT_EQ(Write(*device, 1), 0U);
  EXPECT_EQ(Run(*device, CAPSTAN_OP_COMPLETE), 0U);
  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DONE).failed());
  EXPECT_EQ(library_.InDrive(0), nullptr);

  // The next one goes on with it.
  device = MustOpen(CAPSTAN_OPEN_APPEND);
  EXPECT_EQ(library_.InDrive(0), &cartridge);
  EXPECT_TRUE(Reads(*device, 1));
  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DISCARD).failed());
}

TEST_F(TapeDeviceTest, CompleteIsRefusedAfterAFailedWrite) {
  bool fails = true;
  options_.fault = [&](const std::string& command) {
    return command == "Write" && fails ? Outcome::kMediumError : Outcome::kDone;
  };
  library_.Add({.barcode = "A00001L8"});
  const auto device = MustOpen(CAPSTAN_OPEN_CREATE);
  EXPECT_EQ(Write(*device, 1), CAPSTAN_E_WRITE_FAULT);
  fails = false;

  EXPECT_EQ(Run(*device, CAPSTAN_OP_COMPLETE), CAPSTAN_E_WRITE_FAULT);
  const Failure closed = device->Close(CAPSTAN_OUTCOME_DONE);

  EXPECT_EQ(closed.os_error, EINVAL);
}

TEST_F(TapeDeviceTest, WhatCannotBeNotedIsNotWritten) {
  test::MemoryNotes full(true);
  library_.Add({.barcode = "A00001L8"});
  TapeDevice::Parts parts{
      .name = "vault/0",
      .drive = std::make_unique<test::MemoryDrive>(library_, 0, options_),
      .shelf = std::make_unique<Shelf>(std::make_unique<test::MemoryChanger>(library_), 0),
      .memory = &full,
      .block_size = kBlock};
  capstan_open_params params{};
  params.mode = CAPSTAN_OPEN_CREATE;
  params.max_transfer_size = 1U << 20U;
  std::unique_ptr<TapeDevice> device;
  ASSERT_FALSE(TapeDevice::Open(std::move(parts), params, &device).failed());

  EXPECT_EQ(Write(*device, 1), CAPSTAN_E_WRITE_FAULT);
  EXPECT_TRUE(library_.InDrive(0)->objects.empty());
  EXPECT_FALSE(device->Close(CAPSTAN_OUTCOME_DISCARD).failed());
}

}  // namespace
}  // namespace capstan::tape
