// What a power cut leaves of an append, of sets that are compressed or encrypted, and of appends to
// media of other programs: what was whole stays whole, and the next append goes behind it.
//
// The media are those that the engine made, cut as a file system may leave them: anywhere, or with
// blocks that never reached the disk. What it cannot show is the file system itself; the crash
// tests of the disk plugin do.
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/support/test_certificates.h"
#include "tests/unit/server/engine/coding_samples.h"
#include "tests/unit/server/engine/engine_fixture.h"
#include "tests/unit/server/media/foreign_medium.h"
#include "tests/unit/server/media/memory_source.h"

namespace capstan::engine {
namespace {

using media::MediumTail;
using test::HasReason;
using test::IsOk;
using Bytes = std::vector<std::byte>;

// So compressible that its frames are small, and every byte of a set can be tried.
Bytes Flat(std::size_t size, unsigned seed) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(seed + i / 5000);
  }
  return bytes;
}

// Edges of the smallest blocks, or every seventh byte from one that changes with the seed.
enum class Cuts { kEverywhere, kAroundEdges };

std::vector<std::size_t> CutsBetween(std::size_t begin, std::size_t end, Cuts cuts) {
  const auto phase = static_cast<std::size_t>(testing::UnitTest::GetInstance()->random_seed() % 7);
  std::vector<std::size_t> places;
  for (std::size_t at = begin; at < end; ++at) {
    if ((cuts == Cuts::kEverywhere && at % 7 == phase) || (at + 1) % 512 < 3) {
      places.push_back(at);
    }
  }
  return places;
}

class TornAppend : public EngineFixture {
 protected:
  void SetUp() override {
    auto store = transform::CertificateStore::Open(directory_.Under("certificates"));
    ASSERT_THAT(store, IsOk());
    certificates_ = std::move(store).value();
    ASSERT_THAT(certificates_->Import("nightly", test::TestCertificates::First()), IsOk());
    Start();
  }

  Status BackUp(std::vector<std::string> targets, const CodingSample& coding, MediaUse use) {
    BackupRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "sales";
    request.media_use = use;
    if (coding.compression && use == MediaUse::kFormat) {
      request.compression = true;
      request.compression_settings = *coding.compression;
    }
    if (coding.encrypted) {
      request.encryption = {.encryptor = transform::CertificateName{"nightly"}};
    }
    return engine_->Backup(request, observer_);
  }
  Status Append(std::vector<std::string> targets) {
    return BackUp(std::move(targets), {}, MediaUse::kAppend);
  }
  Status RestoreSet(std::vector<std::string> targets, std::uint16_t position) {
    RestoreRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "copy";
    request.file_number = position;
    request.moves = {{"sales", "/new"}};
    request.replace = true;
    writer_.restored.clear();
    return engine_->Restore(request, observer_);
  }
  void ExpectRestores(std::vector<std::string> targets, std::uint16_t position,
                      const Bytes& content) {
    ASSERT_THAT(RestoreSet(std::move(targets), position), IsOk()) << "set " << position;
    EXPECT_TRUE(writer_.restored["/new"] == content) << "set " << position;
  }

  static Result<media::MediumListing> List(std::span<const std::byte> bytes) {
    media::MemorySource source(bytes);
    return media::ReadListing(source);
  }
  Bytes Medium(const std::string& target) { return *devices_.medium(target); }

  // Set 1 can be read, and a set that is appended to what is left is the second; both can be read.
  void ExpectGoesOn(const Bytes& torn, const Bytes& first) {
    devices_.Put("torn", torn);
    ExpectRestores({"torn"}, 1, first);
    writer_.files = {Rows(30'000, 9)};
    ASSERT_THAT(Append({"torn"}), IsOk());
    const auto listing = List(Medium("torn"));
    ASSERT_THAT(listing, IsOk());
    ASSERT_EQ(listing->sets.size(), 2U);
    EXPECT_TRUE(listing->sets[1].complete);
    EXPECT_EQ(listing->tail, MediumTail::kNothing);
    ExpectRestores({"torn"}, 1, first);
    ExpectRestores({"torn"}, 2, writer_.files[0]);
  }
};

void ExpectTheFirstSetOnly(const Result<media::MediumListing>& listing, std::size_t end_of_first,
                           bool cut) {
  ASSERT_THAT(listing, IsOk());
  ASSERT_FALSE(listing->sets.empty());
  EXPECT_TRUE(listing->sets[0].complete);
  EXPECT_TRUE(listing->sets.size() == 1 || !listing->sets[1].complete);
  EXPECT_EQ(listing->tail, cut ? MediumTail::kUnfinishedSet : MediumTail::kNothing);
  ASSERT_TRUE(listing->append);
  EXPECT_EQ(listing->append->offset, end_of_first);
  EXPECT_EQ(listing->append->position, 2);
}

// Frames of such a set have no stride: only the index at its end tells where they are.
TEST_F(TornAppend, CutAtAnyByteOfACompressedSetKeepsWhatWasWhole) {
  const Bytes first = Flat(150'000, 1);
  for (const Cuts cuts : {Cuts::kEverywhere, Cuts::kAroundEdges}) {
    const CodingSample coding = AllCodings()[cuts == Cuts::kEverywhere ? 0 : 1];
    SCOPED_TRACE(coding.name);
    writer_.files = {first};
    ASSERT_THAT(BackUp({"a"}, coding, MediaUse::kFormat), IsOk());
    const Bytes one = Medium("a");
    writer_.files = {Flat(200'000, 2)};
    ASSERT_THAT(Append({"a"}), IsOk());
    const Bytes two = Medium("a");
    ASSERT_TRUE(std::equal(one.begin(), one.end(), two.begin()));

    std::size_t looked = 0;
    for (const std::size_t end : CutsBetween(one.size(), two.size(), cuts)) {
      ExpectTheFirstSetOnly(List(std::span(two).first(end)), one.size(), end > one.size());
      if (((end + 1) % 4096 < 3 && ++looked % 6 == 0) || end + 1 == two.size()) {
        ExpectGoesOn({two.begin(), two.begin() + static_cast<std::ptrdiff_t>(end)}, first);
      }
      if (HasFailure()) {
        FAIL() << "cut at " << end << " of " << two.size();
      }
    }
    EXPECT_GE(looked, 20U);
  }
}

// The writes of an append reach the disk in any order; what did not reads as zeros.
TEST_F(TornAppend, HolesInACompressedSetKeepWhatWasWhole) {
  const Bytes first = Rows(150'000, 1);
  writer_.files = {first};
  ASSERT_THAT(BackUp({"a"}, AllCodings()[0], MediaUse::kFormat), IsOk());
  const Bytes one = Medium("a");
  writer_.files = {Rows(300'000, 2)};
  ASSERT_THAT(Append({"a"}), IsOk());
  const Bytes two = Medium("a");
  const auto seed = static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed()) + 1;
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);

  for (int round = 0; round < 300 && !HasFailure(); ++round) {
    const std::size_t end = one.size() + 1 + random() % (two.size() - one.size() - 4096);
    Bytes torn(two.begin(), two.begin() + static_cast<std::ptrdiff_t>(end));
    for (std::size_t page = one.size(); page < end; page += 4096) {
      if (random() % 3 == 0) {
        std::fill(torn.begin() + static_cast<std::ptrdiff_t>(page),
                  torn.begin() + static_cast<std::ptrdiff_t>(std::min(page + 4096, end)),
                  std::byte{0});
      }
    }
    ExpectTheFirstSetOnly(List(torn), one.size(), true);
    if (round % 30 == 0) {
      ExpectGoesOn(torn, first);
    }
  }
}

// An encrypted set is always the first and only one of its media. Cut off, it is neither taken for
// a whole one, nor for an empty medium: only FORMAT goes over it.
TEST_F(TornAppend, CutOfAnEncryptedSetIsNeitherReadNorAppendedTo) {
  for (const CodingSample& coding : {AllCodings()[2], AllCodings()[4]}) {
    SCOPED_TRACE(coding.name);
    writer_.files = {Flat(150'000, 1)};
    ASSERT_THAT(BackUp({"a"}, coding, MediaUse::kFormat), IsOk());
    const Bytes whole = Medium("a");

    std::size_t looked = 0;
    for (const std::size_t end : CutsBetween(8192, whole.size(), Cuts::kAroundEdges)) {
      const auto listing = List(std::span(whole).first(end));
      ASSERT_THAT(listing, IsOk()) << end;
      ASSERT_TRUE(listing->header.encrypted) << end;
      ASSERT_TRUE(listing->sets.empty() || !listing->sets[0].complete) << end;
      if ((end + 1) % 4096 > 2 || ++looked % 6 != 0) {
        continue;
      }
      const Bytes torn(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(end));
      devices_.Put("torn", torn);
      EXPECT_THAT(Append({"torn"}), HasReason(3095)) << end;
      EXPECT_THAT(BackUp({"torn"}, coding, MediaUse::kAppend), HasReason(3095)) << end;
      EXPECT_FALSE(RestoreSet({"torn"}, 1).ok()) << end;
      EXPECT_TRUE(writer_.restored.empty()) << end;
      EXPECT_TRUE(Medium("torn") == torn) << end;
      ASSERT_THAT(BackUp({"torn"}, coding, MediaUse::kFormat), IsOk());
      ExpectRestores({"torn"}, 1, writer_.files[0]);
      if (HasFailure()) {
        FAIL() << "cut at " << end << " of " << whole.size();
      }
    }
    EXPECT_GE(looked, 8U);
  }
}

class CopiedSets : public TornAppend {
 protected:
  // Two sets on two families, of which the second is cut in its index.
  void Prepare() {
    for (unsigned i = 1; i <= 2; ++i) {
      writer_.files = {Rows(300'000 + i, i)};
      ASSERT_THAT(
          i == 1 ? BackUp({"a", "b"}, AllCodings()[0], MediaUse::kFormat) : Append({"a", "b"}),
          IsOk());
    }
    for (const char* const target : {"a", "b"}) {
      Bytes torn = Medium(target);
      torn.resize(torn.size() - 4096 - 100);  // the last filemark, and a bit of what is before it
      devices_.Put(target, torn);
      torn_.push_back(std::move(torn));
    }
    writer_.files = {Rows(70'000, 3)};
  }
  std::vector<Bytes> torn_;
};

TEST_F(CopiedSets, StandInFrontOfTheNewSetWhenTheIndexIsTorn) {
  Prepare();
  ASSERT_FALSE(HasFailure());

  ASSERT_THAT(Append({"b", "a"}), IsOk());

  for (const char* const target : {"a", "b"}) {
    const auto listing = List(Medium(target));
    ASSERT_THAT(listing, IsOk());
    ASSERT_EQ(listing->sets.size(), 2U) << target;
    EXPECT_TRUE(listing->sets[1].complete) << target;
    EXPECT_EQ(listing->tail, MediumTail::kNothing) << target;
  }
  ExpectRestores({"a", "b"}, 1, Rows(300'001, 1));
  ExpectRestores({"a", "b"}, 2, Rows(70'000, 3));
  ExpectNothingHarmed();
}

// The media are replaced only when the copy and the new set are whole.
TEST_F(CopiedSets, AreNotMissedWhenTheCopyFails) {
  Prepare();
  ASSERT_FALSE(HasFailure());
  std::atomic<int> writes{0};
  for (const int failing : {1, 2, 3, 5}) {
    writes = 0;
    devices_.fault = [&writes, failing](std::size_t, const vdi::ClientCommand& command) {
      return command.code == vdi::CommandCode::kWrite && ++writes == failing
                 ? vdi::CompletionCode::kDiskFull
                 : vdi::CompletionCode::kSuccess;
    };

    EXPECT_THAT(Append({"a", "b"}), HasReason(3202)) << failing;

    EXPECT_GE(writes, failing);
    EXPECT_TRUE(Medium("a") == torn_[0]) << failing;
    EXPECT_TRUE(Medium("b") == torn_[1]) << failing;
    EXPECT_EQ(UnfinishedCount(), 0U) << failing;
    EXPECT_EQ(devices_.partial_count(), 0U) << failing;
  }
  devices_.fault = nullptr;
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  ExpectRestores({"a", "b"}, 1, Rows(300'001, 1));
}

// One family was copied away whole and the other torn: nobody can tell which is right.
TEST_F(CopiedSets, OfOneFamilyAloneAreRefused) {
  Prepare();
  ASSERT_FALSE(HasFailure());
  ASSERT_THAT(Append({"a", "b"}), IsOk());
  devices_.Put("b", torn_[1]);
  const Bytes a = Medium("a");

  EXPECT_THAT(Append({"a", "b"}), HasReason(3232));

  EXPECT_TRUE(Medium("a") == a);
  EXPECT_TRUE(Medium("b") == torn_[1]);
  ExpectRestores({"a", "b"}, 1, Rows(300'001, 1));
}

// S3-23, S3-25: behind the sets of another program, in its blocks.
TEST_F(TornAppend, AppendsToMediaOfOtherPrograms) {
  for (const std::uint16_t block : std::initializer_list<std::uint16_t>{512, 1024}) {
    for (const std::uint16_t units : std::initializer_list<std::uint16_t>{1, 2, 8}) {
      const media::ForeignForm form{.format_logical_block = block,
                                    .soft_filemark_units = units,
                                    .set_map = units == 2,
                                    .sets = 2};
      SCOPED_TRACE(Describe(form));
      const Bytes theirs = media::ForeignMediumBuilder(form).Build();
      devices_.Put("f", theirs);
      writer_.files = {Rows(200'001, units)};

      ASSERT_THAT(Append({"f"}), IsOk());
      ASSERT_THAT(Append({"f"}), IsOk());

      const Bytes both = Medium("f");
      EXPECT_TRUE(std::equal(theirs.begin(), theirs.end(), both.begin()));
      const auto listing = engine_->List(Transfer({"f"}));
      ASSERT_THAT(listing, IsOk());
      ASSERT_EQ(listing->sets.size(), 4U);
      for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(listing->sets[i].foreign, i < 2) << i;
        EXPECT_TRUE(listing->sets[i].complete) << i;
        EXPECT_EQ(listing->sets[i].set.position, i + 1);
      }
      EXPECT_EQ(listing->sets[3].set.database_name, "sales");
      ExpectRestores({"f"}, 3, writer_.files[0]);
      ExpectRestores({"f"}, 4, writer_.files[0]);
      EXPECT_FALSE(RestoreSet({"f"}, 1).ok());
      EXPECT_TRUE(writer_.restored.empty());

      BackupRequest compressed;
      compressed.transfer = Transfer({"f"});
      compressed.database = "sales";
      compressed.media_use = MediaUse::kAppend;
      compressed.compression = true;
      EXPECT_THAT(engine_->Backup(compressed, observer_), HasReason(3098));
      EXPECT_TRUE(Medium("f") == both);
    }
  }
}

// An append that fails, or is cut, behind sets of another program leaves those as they were.
TEST_F(TornAppend, CutBehindMediaOfOtherProgramsIsAppendedToAgain) {
  const Bytes theirs = media::ForeignMediumBuilder({.soft_filemark_units = 2, .sets = 1}).Build();
  devices_.Put("f", theirs);
  writer_.files = {Rows(100'000, 1)};
  std::atomic<int> writes{0};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    return command.code == vdi::CommandCode::kWrite && ++writes == 2
               ? vdi::CompletionCode::kWriteFault
               : vdi::CompletionCode::kSuccess;
  };
  EXPECT_THAT(Append({"f"}), HasReason(3202));
  EXPECT_TRUE(Medium("f") == theirs);
  devices_.fault = nullptr;
  ASSERT_THAT(Append({"f"}), IsOk());
  const Bytes both = Medium("f");

  for (std::size_t end = theirs.size(); end < both.size(); end += 5999) {
    devices_.Put("f", {both.begin(), both.begin() + static_cast<std::ptrdiff_t>(end)});
    ASSERT_THAT(Append({"f"}), IsOk()) << end;
    const Bytes again = Medium("f");
    EXPECT_TRUE(std::equal(theirs.begin(), theirs.end(), again.begin())) << end;
    const auto listing = List(again);
    ASSERT_THAT(listing, IsOk()) << end;
    ASSERT_EQ(listing->sets.size(), 2U) << end;
    EXPECT_TRUE(listing->sets[0].foreign) << end;
    ExpectRestores({"f"}, 2, writer_.files[0]);
  }
}

}  // namespace
}  // namespace capstan::engine
