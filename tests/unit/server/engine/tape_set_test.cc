// Media sets on tapes: append, overwrite, find and restore sets, on one cartridge and on several,
// and what a failure at any moment leaves.
#include <algorithm>
#include <atomic>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/unit/server/engine/tape_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using vdi::CommandCode;
using vdi::CompletionCode;

class TapeSet : public TapeFixture {
 protected:
  TapeSet() { devices_.options.stays_mounted = true; }

  TransferRequest OnTape(std::vector<std::string> targets) const {
    TransferRequest transfer = Transfer(std::move(targets));
    transfer.device_class = "TAPE";
    return transfer;
  }
  BackupRequest Request(std::vector<std::string> targets, MediaUse use = MediaUse::kAppend) const {
    BackupRequest request;
    request.transfer = OnTape(std::move(targets));
    request.database = "sales";
    request.media_use = use;
    return request;
  }
  // A database that tells which backup it was in.
  void UseData(unsigned seed, std::size_t size = 150'000) {
    writer_.files = {MemoryWriter::Pattern(size + seed, seed)};
  }
  Status BackupData(std::vector<std::string> targets, unsigned seed, std::size_t size = 150'000) {
    UseData(seed, size);
    return engine_->Backup(Request(std::move(targets)), observer_);
  }
  Status RestoreSet(std::vector<std::string> targets, std::uint16_t position) {
    RestoreRequest request;
    request.transfer = OnTape(std::move(targets));
    request.database = "copy";
    request.file_number = position;
    request.moves = {{"sales", "/new"}};
    request.replace = true;
    writer_.restored.clear();
    return engine_->Restore(request, observer_);
  }
  void ExpectSet(const std::vector<std::string>& targets, std::uint16_t position, unsigned seed,
                 std::size_t size = 150'000) {
    ASSERT_THAT(RestoreSet(targets, position), IsOk()) << position;
    EXPECT_TRUE(writer_.restored["/new"] == MemoryWriter::Pattern(size + seed, seed)) << position;
    EXPECT_THAT(engine_->Verify({.transfer = OnTape(targets), .file_number = position}, observer_),
                IsOk())
        << position;
  }
  media::MediumListing List(const std::string& target) {
    auto listing = engine_->List(OnTape({target}));
    EXPECT_THAT(listing, IsOk());
    return listing.ok() ? std::move(listing).value() : media::MediumListing();
  }
  std::vector<int> Positions(const std::string& target) {
    std::vector<int> positions;
    for (const media::SetListing& set : List(target).sets) {
      positions.push_back(set.set.position);
    }
    return positions;
  }
  std::vector<std::byte> BytesOf(const std::string& target) {
    devices_.Finish();
    return devices_.cartridges(target)[0]->bytes;
  }
};

// S3-28, S3-17, S3-18
TEST_F(TapeSet, AppendsAndRestoresEverySet) {
  for (unsigned i = 1; i <= 3; ++i) {
    ASSERT_THAT(BackupData({"a", "b"}, i), IsOk());
  }

  EXPECT_THAT(Positions("a"), ElementsAre(1, 2, 3));
  EXPECT_THAT(Positions("b"), ElementsAre(1, 2, 3));
  for (unsigned i = 1; i <= 3; ++i) {
    ExpectSet({"b", "a"}, static_cast<std::uint16_t>(i), i);
  }
  const Status missing = RestoreSet({"a", "b"}, 4);
  EXPECT_THAT(missing, HasReason(3287));
  EXPECT_EQ(missing.hint(), "the medium holds 3 backup sets; RESTORE HEADERONLY lists them");
  EXPECT_THAT(devices_.loads(), IsEmpty());
}

TEST_F(TapeSet, GoesByFilemarksWhereTheDriveTellsNoPositions) {
  devices_.options.no_locating = true;
  for (unsigned i = 1; i <= 3; ++i) {
    ASSERT_THAT(BackupData({"a"}, i), IsOk());
  }
  for (unsigned i = 1; i <= 3; ++i) {
    ExpectSet({"a"}, static_cast<std::uint16_t>(i), i);
  }
}

// A set is found, listed and appended to without reading those before it.
TEST_F(TapeSet, ReadsNoDataOfOtherSets) {
  constexpr std::size_t kLarge = 8 << 20;
  ASSERT_THAT(BackupData({"a"}, 1, kLarge), IsOk());
  std::atomic<std::size_t> read{0};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    read += command.code == CommandCode::kRead ? command.size : 0;
    return CompletionCode::kSuccess;
  };

  ASSERT_THAT(BackupData({"a"}, 2), IsOk());
  EXPECT_THAT(Positions("a"), ElementsAre(1, 2));
  ASSERT_THAT(RestoreSet({"a"}, 2), IsOk());

  EXPECT_LT(read, kLarge / 2);
  devices_.Finish();  // the fault uses what is above
}

TEST_F(TapeSet, CompressedSetsAreSkippedToo) {
  constexpr std::size_t kLarge = 4 << 20;
  BackupRequest request = Request({"a"});
  request.compression = true;
  UseData(1, kLarge);
  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());
  UseData(2);
  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());
  std::atomic<std::size_t> read{0};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    read += command.code == CommandCode::kRead ? command.size : 0;
    return CompletionCode::kSuccess;
  };

  EXPECT_THAT(Positions("a"), ElementsAre(1, 2));

  EXPECT_LT(read, kLarge / 4);
  ExpectSet({"a"}, 2, 2);
  devices_.Finish();  // the fault uses what is above
}

// S3-21, S3-22
TEST_F(TapeSet, InitKeepsTheHeaderAndFormatDoesNot) {
  UseData(1);
  BackupRequest request = Request({"a"});
  request.media_name = "Nightly";
  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());
  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());
  const media::MediaHeader first = List("a").header;

  ASSERT_THAT(engine_->Backup(Request({"a"}, MediaUse::kOverwrite), observer_), IsOk());

  EXPECT_THAT(Positions("a"), ElementsAre(1));
  EXPECT_EQ(List("a").header.media_set_id, first.media_set_id);
  EXPECT_EQ(List("a").header.name, "Nightly");
  ASSERT_THAT(engine_->Backup(Request({"a"}, MediaUse::kFormat), observer_), IsOk());
  EXPECT_NE(List("a").header.media_set_id, first.media_set_id);
}

TEST_F(TapeSet, ARefusalTouchesNothing) {
  UseData(1);
  BackupRequest first = Request({"a"});
  first.media_name = "Nightly";
  first.expiration_unix_s = 4'102'444'800;
  ASSERT_THAT(engine_->Backup(first, observer_), IsOk());
  const auto before = BytesOf("a");

  BackupRequest compressed = Request({"a"});
  compressed.compression = true;
  BackupRequest named = Request({"a"});
  named.media_name = "Weekly";
  BackupRequest mirrored = Request({"a"}, MediaUse::kFormat);
  mirrored.mirrors = {{"b"}};
  EXPECT_THAT(engine_->Backup(compressed, observer_), HasReason(3098));
  EXPECT_THAT(engine_->Backup(named, observer_), HasReason(4037));
  EXPECT_THAT(engine_->Backup(Request({"a"}, MediaUse::kOverwrite), observer_), HasReason(4030));
  EXPECT_THAT(engine_->Backup(Request({"a", "b"}), observer_), HasReason(3231));
  EXPECT_THAT(engine_->Backup(mirrored, observer_), HasReason(3031));

  EXPECT_TRUE(BytesOf("a") == before);
}

// Whatever fails, and with it whatever a crash interrupts: the sets before are there, what is torn
// is not shown, and the next backup takes its place, also where one family has the set whole.
TEST_F(TapeSet, AFailureAnywhereLeavesTheSetsBefore) {
  std::atomic<int> sent{0};
  std::atomic<int> fails_at{0};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    const bool changes =
        command.code == CommandCode::kWrite || command.code == CommandCode::kWriteMark ||
        command.code == CommandCode::kFlush || command.code == CommandCode::kComplete;
    return changes && ++sent == fails_at ? CompletionCode::kWriteFault : CompletionCode::kSuccess;
  };
  int whole = 0;
  int torn = 0;
  for (fails_at = 1;; ++fails_at) {
    const std::string a = fmt::format("a{}", fails_at.load());
    const std::string b = fmt::format("b{}", fails_at.load());
    const int number = fails_at.exchange(0);
    ASSERT_THAT(BackupData({a, b}, 1), IsOk());
    ASSERT_THAT(BackupData({a, b}, 2), IsOk());
    sent = 0;
    fails_at = number;
    const Status failed = BackupData({a, b}, 3);
    if (failed.ok()) {
      break;
    }
    SCOPED_TRACE(number);
    EXPECT_THAT(failed, HasReason(3202));
    const std::size_t on_a = Positions(a).size();
    const std::size_t on_b = Positions(b).size();
    (on_a == 3 || on_b == 3 ? whole : torn) += 1;
    ExpectSet({a, b}, 1, 1);
    ExpectSet({b, a}, 2, 2);

    sent = 1000;
    ASSERT_THAT(BackupData({a, b}, 4), IsOk());

    const std::uint16_t position = on_a == 3 && on_b == 3 ? 4 : 3;
    EXPECT_EQ(Positions(a).size(), position);
    EXPECT_EQ(Positions(b).size(), position);
    ExpectSet({a, b}, 2, 2);
    ExpectSet({a, b}, position, 4);
  }
  EXPECT_GT(torn, 5);
  EXPECT_GT(whole, 2);
  devices_.Finish();  // the fault uses what is above
}

class TapeSpan : public TapeSet {
 protected:
  TapeSpan() {
    devices_.options.tells_zone = true;
    UseCapacity(kCapacity, kZone);
  }
  static constexpr std::size_t kZone = 90'000;
  static constexpr std::size_t kCapacity = 8192 + 5 * kTransfer + kZone;
  static constexpr std::size_t kData = 4 * 61440;  // fits one cartridge, not two of it

  std::size_t loads() { return devices_.loads().size(); }
};

TEST_F(TapeSpan, AppendsToTheLastCartridgeWhicheverIsMounted) {
  for (unsigned i = 1; i <= 4; ++i) {
    ASSERT_THAT(BackupData({"t"}, i, kData), IsOk());
    devices_.Mount("t", i % 2 == 0 ? 1 : 2);
    if (i == 1) {
      devices_.Mount("t", 1);
    }
  }

  EXPECT_GT(devices_.cartridges("t").size(), 2U);
  for (unsigned mounted = 1; mounted <= 3; ++mounted) {
    for (unsigned i = 4; i >= 1; --i) {
      devices_.Mount("t", mounted);
      SCOPED_TRACE(mounted);
      ExpectSet({"t"}, static_cast<std::uint16_t>(i), i, kData);
    }
  }
  EXPECT_THAT(RestoreSet({"t"}, 5), HasReason(3287));
}

TEST_F(TapeSpan, ListsTheMountedCartridge) {
  ASSERT_THAT(BackupData({"t"}, 1, kData), IsOk());
  ASSERT_THAT(BackupData({"t"}, 2, kData), IsOk());
  const std::size_t before = loads();
  devices_.Mount("t", 1);
  EXPECT_THAT(Positions("t"), ElementsAre(1, 2));
  EXPECT_TRUE(List("t").sets[1].continues);
  devices_.Mount("t", 2);
  EXPECT_THAT(Positions("t"), ElementsAre(2));
  EXPECT_TRUE(List("t").sets[0].complete);
  EXPECT_EQ(loads(), before);
}

TEST_F(TapeSpan, ASetTornOnTheNextCartridgeIsOverwrittenFromItsBeginning) {
  std::atomic<bool> on_second{false};
  std::atomic<int> writes{0};
  std::atomic<int> fails_at{0};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    on_second = on_second || command.code == CommandCode::kLoad;
    return on_second && command.code == CommandCode::kWrite && ++writes == fails_at
               ? CompletionCode::kWriteFault
               : CompletionCode::kSuccess;
  };
  // The label, the beginning of the set, the first frame.
  for (const int moment : {1, 2, 3}) {
    for (const unsigned mounted : {1U, 2U}) {
      const std::string target = fmt::format("t{}-{}", moment, mounted);
      SCOPED_TRACE(target);
      fails_at = 0;
      ASSERT_THAT(BackupData({target}, 1, kData), IsOk());
      on_second = false;
      writes = 0;
      fails_at = moment;
      ASSERT_THAT(BackupData({target}, 2, kData), HasReason(3202));
      fails_at = 0;
      if (moment == 1 && mounted == 2) {
        continue;  // it is blank: a backup begins a new media set there
      }
      devices_.Mount(target, mounted);
      ExpectSet({target}, 1, 1, kData);

      devices_.Mount(target, mounted);
      ASSERT_THAT(BackupData({target}, 3, kData), IsOk());

      ExpectSet({target}, 1, 1, kData);
      ExpectSet({target}, 2, 3, kData);
    }
  }
  devices_.Finish();  // the fault uses what is above
}

TEST_F(TapeSpan, ASetTornOnTheThirdCartridgeGoesBackToTheFirst) {
  std::atomic<int> loads{0};
  std::atomic<int> writes{0};
  std::atomic<bool> fails{false};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    loads += command.code == CommandCode::kLoad ? 1 : 0;
    return fails && loads == 2 && command.code == CommandCode::kWrite && ++writes == 3
               ? CompletionCode::kWriteFault
               : CompletionCode::kSuccess;
  };
  for (const unsigned mounted : {1U, 2U, 3U}) {
    const std::string target = fmt::format("t{}", mounted);
    SCOPED_TRACE(target);
    ASSERT_THAT(BackupData({target}, 1), IsOk());
    loads = 0;
    writes = 0;
    fails = true;
    ASSERT_THAT(BackupData({target}, 2, 4 * kData), HasReason(3202));
    fails = false;
    devices_.Mount(target, mounted);

    ASSERT_THAT(BackupData({target}, 3, kData), IsOk());

    ExpectSet({target}, 1, 1);
    ExpectSet({target}, 2, 3, kData);
  }
  devices_.Finish();  // the fault uses what is above
}

TEST_F(TapeSpan, RefusesTheWrongCartridge) {
  ASSERT_THAT(BackupData({"t"}, 1, kData), IsOk());
  ASSERT_THAT(BackupData({"t"}, 2, kData), IsOk());
  ASSERT_THAT(BackupData({"u"}, 9, kData), IsOk());
  devices_.Finish();
  const test::Cartridge other = *devices_.cartridges("u")[0];
  devices_.offered = [](const std::string&, std::size_t) { return std::size_t{1}; };
  devices_.Mount("t", 1);
  EXPECT_THAT(RestoreSet({"t"}, 2), HasReason(3247));
  EXPECT_THAT(BackupData({"t"}, 3), HasReason(3247));
  EXPECT_THAT(RestoreSet({"t"}, 3), HasReason(3247));

  devices_.Finish();
  devices_.offered = nullptr;
  *devices_.cartridges("t")[1] = other;
  devices_.Mount("t", 1);
  EXPECT_THAT(RestoreSet({"t"}, 2), HasReason(3258));
  devices_.Mount("t", 1);
  EXPECT_THAT(BackupData({"t"}, 3), HasReason(3258));
  ExpectSet({"t"}, 1, 9, kData);  // the other one, which is mounted
}

TEST_F(TapeSpan, InitTakesTheWholeFamilyAgain) {
  ASSERT_THAT(BackupData({"t"}, 1, kData), IsOk());
  ASSERT_THAT(BackupData({"t"}, 2, kData), IsOk());
  UseData(3, 2 * kData);

  ASSERT_THAT(engine_->Backup(Request({"t"}, MediaUse::kOverwrite), observer_), IsOk());

  ExpectSet({"t"}, 1, 3, 2 * kData);
  EXPECT_THAT(RestoreSet({"t"}, 2), HasReason(3287));
}

}  // namespace
}  // namespace capstan::engine
