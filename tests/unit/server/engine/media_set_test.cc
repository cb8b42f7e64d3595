// Media sets through the engine: append, INIT, FORMAT, families in any order, mirrors, and what is
// refused without a byte being touched.
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using test::MemoryWriter;
using test::MessageHas;
using testing::ElementsAre;

class MediaSet : public EngineFixture {
 protected:
  BackupRequest Request(std::vector<std::string> targets, MediaUse use = MediaUse::kAppend) {
    BackupRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "sales";
    request.media_use = use;
    return request;
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
  media::MediumListing List(const std::string& target) {
    auto listing = engine_->List(Transfer({target}));
    EXPECT_THAT(listing, IsOk());
    return listing.ok() ? std::move(listing).value() : media::MediumListing();
  }
  std::string CatalogValue(const std::string& select) {
    const auto table = catalog_->Query(select, {});
    EXPECT_THAT(table, IsOk());
    return table.ok() && !table->rows.empty() ? table->rows[0][0].value_or("NULL") : "none";
  }
};

// S3-17, S3-18: "on file 2" is the position that HEADERONLY shows.
TEST_F(MediaSet, AppendsAndRestoresEverySet) {
  for (unsigned i = 1; i <= 3; ++i) {
    writer_.files = {MemoryWriter::Pattern(100'000 + i, i)};
    ASSERT_THAT(engine_->Backup(Request({"a", "b"}), observer_), IsOk());
  }

  EXPECT_THAT(observer_.Texts(4035),
              ElementsAre("Processed 13 pages for database 'sales', file 'sales' on file 1.",
                          "Processed 13 pages for database 'sales', file 'sales' on file 2.",
                          "Processed 13 pages for database 'sales', file 'sales' on file 3."));
  ASSERT_EQ(List("b").sets.size(), 3U);
  EXPECT_EQ(List("b").sets[1].set.position, 2);
  for (unsigned i = 1; i <= 3; ++i) {
    ASSERT_THAT(RestoreSet({"b", "a"}, static_cast<std::uint16_t>(i)), IsOk());
    EXPECT_EQ(writer_.restored["/new"], MemoryWriter::Pattern(100'000 + i, i));
  }
  const Status missing = RestoreSet({"a", "b"}, 4);
  EXPECT_THAT(missing, HasReason(3287));
  EXPECT_EQ(missing.hint(), "the medium holds 3 backup sets; RESTORE HEADERONLY lists them");
  EXPECT_EQ(CatalogValue("SELECT count(DISTINCT media_set_id) FROM msdb_dbo_backupset"), "1");
  EXPECT_EQ(CatalogValue("SELECT max(position) FROM msdb_dbo_backupset"), "3");
}

TEST_F(MediaSet, TakesTheFamiliesInAnyOrder) {
  writer_.files = {MemoryWriter::Pattern(300'000, 1)};
  ASSERT_THAT(engine_->Backup(Request({"a", "b", "c"}), observer_), IsOk());

  ASSERT_THAT(engine_->Backup(Request({"c", "a", "b"}), observer_), IsOk());

  EXPECT_EQ(List("a").header.family_number, 1);
  EXPECT_EQ(List("c").header.family_number, 3);
  ASSERT_THAT(RestoreSet({"b", "c", "a"}, 2), IsOk());
  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
}

// S3-21, S3-22
TEST_F(MediaSet, InitKeepsTheHeaderAndFormatDoesNot) {
  writer_.files = {MemoryWriter::Pattern(50'000, 1)};
  BackupRequest request = Request({"a"});
  request.media_name = "Nightly";
  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());
  ASSERT_THAT(engine_->Backup(request, observer_), IsOk());
  const media::MediaHeader first = List("a").header;

  ASSERT_THAT(engine_->Backup(Request({"a"}, MediaUse::kOverwrite), observer_), IsOk());

  EXPECT_EQ(List("a").sets.size(), 1U);
  EXPECT_EQ(List("a").header.media_set_id, first.media_set_id);
  EXPECT_EQ(List("a").header.media_family_id, first.media_family_id);
  EXPECT_EQ(List("a").header.name, "Nightly");
  EXPECT_EQ(List("a").header.date_unix_s, first.date_unix_s);
  EXPECT_EQ(CatalogValue("SELECT count(DISTINCT media_set_id) FROM msdb_dbo_backupset"), "1");

  ASSERT_THAT(engine_->Backup(Request({"a"}, MediaUse::kFormat), observer_), IsOk());
  EXPECT_NE(List("a").header.media_set_id, first.media_set_id);
  EXPECT_EQ(List("a").header.name, "");
}

TEST_F(MediaSet, ARefusalTouchesNothing) {
  writer_.files = {MemoryWriter::Pattern(50'000, 1)};
  BackupRequest first = Request({"a"});
  first.media_name = "Nightly";
  first.expiration_unix_s = 4'102'444'800;
  ASSERT_THAT(engine_->Backup(first, observer_), IsOk());
  const auto before = *devices_.medium("a");
  std::string text = "not a medium at all, and long enough to be looked at";
  const auto bytes = std::as_bytes(std::span(text));
  devices_.Put("text", {bytes.begin(), bytes.end()});

  BackupRequest compressed = Request({"a"});
  compressed.compression = true;
  BackupRequest named = Request({"a"});
  named.media_name = "Weekly";
  EXPECT_THAT(engine_->Backup(compressed, observer_), HasReason(3098));
  EXPECT_THAT(engine_->Backup(named, observer_), HasReason(4037));
  EXPECT_THAT(engine_->Backup(Request({"a"}, MediaUse::kOverwrite), observer_), HasReason(4030));
  EXPECT_THAT(engine_->Backup(Request({"a", "b"}), observer_), HasReason(3231));
  EXPECT_THAT(engine_->Backup(Request({"text"}), observer_), HasReason(3242));
  EXPECT_THAT(engine_->Backup(Request({"text"}, MediaUse::kOverwrite), observer_), HasReason(3242));

  EXPECT_EQ(*devices_.medium("a"), before);
  EXPECT_EQ(devices_.medium("b"), nullptr);
  EXPECT_EQ(devices_.medium("text")->size(), text.size());
  // What to do is in the message itself, or beside it.
  for (const BackupRequest& refused : {named, Request({"a", "b"}), Request({"text"})}) {
    EXPECT_NE(engine_->Backup(refused, observer_).hint(), "") << refused.transfer.targets.back();
  }
  ExpectNothingHarmed();
}

// A set begins where the blocks of the medium do: a larger block than fits there is refused.
TEST_F(MediaSet, AppendsInBlocksThatFitTheMedium) {
  writer_.files = {MemoryWriter::Pattern(50'000, 1)};
  ASSERT_THAT(engine_->Backup(Request({"a"}), observer_), IsOk());
  const auto before = *devices_.medium("a");
  BackupRequest request = Request({"a"});

  for (const std::uint32_t too_large : {8192U, 65536U}) {
    request.transfer.block_size = too_large;
    const Status refused = engine_->Backup(request, observer_);
    EXPECT_THAT(refused, HasReason(3272)) << too_large;
    EXPECT_THAT(refused, MessageHas("of 4096")) << too_large;
    EXPECT_EQ(*devices_.medium("a"), before);
  }
  std::size_t sets = 1;
  for (const std::uint32_t fits : {512U, 1024U, 4096U}) {
    request.transfer.block_size = fits;
    ASSERT_THAT(engine_->Backup(request, observer_), IsOk()) << fits;
    EXPECT_EQ(List("a").sets.size(), ++sets);
  }
  EXPECT_THAT(RestoreSet({"a"}, 4), IsOk());
}

// What was appended goes, what was there stays.
TEST_F(MediaSet, AFailedAppendLeavesTheMediumAsItWas) {
  writer_.files = {MemoryWriter::Pattern(400'000, 1)};
  ASSERT_THAT(engine_->Backup(Request({"a", "b"}), observer_), IsOk());
  const auto a = *devices_.medium("a");
  const auto b = *devices_.medium("b");
  std::atomic<int> writes{0};
  devices_.fault = [&](std::size_t device, const vdi::ClientCommand& command) {
    return device == 1 && command.code == vdi::CommandCode::kWrite && ++writes == 3
               ? vdi::CompletionCode::kDiskFull
               : vdi::CompletionCode::kSuccess;
  };

  const Status failed = engine_->Backup(Request({"a", "b"}), observer_);
  EXPECT_THAT(failed, HasReason(3202));
  EXPECT_THAT(std::string(failed.hint()), testing::HasSubstr("make room there"));

  EXPECT_GE(writes, 3);
  EXPECT_EQ(*devices_.medium("a"), a);
  EXPECT_EQ(*devices_.medium("b"), b);
  devices_.fault = nullptr;
  ASSERT_THAT(engine_->Backup(Request({"a", "b"}), observer_), IsOk());
  EXPECT_EQ(List("a").sets.size(), 2U);
  ExpectNothingHarmed();
}

// The media were copied away while a set was being written: what is whole of them is kept.
TEST_F(MediaSet, GoesOnBehindTheLastWholeSet) {
  for (unsigned i = 1; i <= 2; ++i) {
    writer_.files = {MemoryWriter::Pattern(300'000 + i, i)};
    ASSERT_THAT(engine_->Backup(Request({"a", "b"}), observer_), IsOk());
  }
  for (const char* const target : {"a", "b"}) {
    auto torn = *devices_.medium(target);
    torn.resize(torn.size() - 5000);
    devices_.Put(target, torn);
  }
  EXPECT_FALSE(List("a").sets[1].complete);

  writer_.files = {MemoryWriter::Pattern(70'000, 3)};
  ASSERT_THAT(engine_->Backup(Request({"b", "a"}), observer_), IsOk());

  ASSERT_EQ(List("a").sets.size(), 2U);
  EXPECT_TRUE(List("a").sets[1].complete);
  EXPECT_EQ(List("a").tail, media::MediumTail::kNothing);
  ASSERT_THAT(RestoreSet({"a", "b"}, 1), IsOk());
  EXPECT_EQ(writer_.restored["/new"], MemoryWriter::Pattern(300'001, 1));
  ASSERT_THAT(RestoreSet({"a", "b"}, 2), IsOk());
  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
}

class MirroredMediaSet : public MediaSet {
 protected:
  BackupRequest Mirrored(MediaUse use) {
    BackupRequest request = Request({"a", "b"}, use);
    request.mirrors = {{"a2", "b2"}, {"a3", "b3"}};
    return request;
  }
};

TEST_F(MirroredMediaSet, AreEqualAndRestoreFromAnyMember) {
  writer_.files = {MemoryWriter::Pattern(900'000, 1)};
  ASSERT_THAT(engine_->Backup(Mirrored(MediaUse::kFormat), observer_), IsOk());
  writer_.files = {MemoryWriter::Pattern(700'000, 2)};
  ASSERT_THAT(engine_->Backup(Mirrored(MediaUse::kAppend), observer_), IsOk());

  EXPECT_EQ(*devices_.medium("a"), *devices_.medium("a2"));
  EXPECT_EQ(*devices_.medium("a"), *devices_.medium("a3"));
  EXPECT_EQ(*devices_.medium("b"), *devices_.medium("b3"));
  EXPECT_EQ(List("b2").header.mirror_count, 3);
  ASSERT_THAT(RestoreSet({"b3", "a2"}, 2), IsOk());
  EXPECT_EQ(writer_.restored["/new"], writer_.files[0]);
  EXPECT_EQ(CatalogValue("SELECT count(*) FROM msdb_dbo_backupmediafamily"), "6");
  EXPECT_EQ(CatalogValue("SELECT max(mirror) FROM msdb_dbo_backupmediafamily"), "2");
  EXPECT_EQ(CatalogValue("SELECT mirror_count FROM msdb_dbo_backupmediaset"), "3");
}

TEST_F(MirroredMediaSet, AFailedMirrorFailsTheBackup) {
  writer_.files = {MemoryWriter::Pattern(900'000, 1)};
  ASSERT_THAT(engine_->Backup(Mirrored(MediaUse::kFormat), observer_), IsOk());
  const auto before = *devices_.medium("a");
  std::atomic<bool> failed{false};
  devices_.fault = [&](std::size_t device, const vdi::ClientCommand& command) {
    const bool fails = device == 3 && command.code == vdi::CommandCode::kWrite &&
                       command.position > static_cast<std::int64_t>(before.size());
    failed = failed || fails;
    return fails ? vdi::CompletionCode::kWriteFault : vdi::CompletionCode::kSuccess;
  };

  const Status status = engine_->Backup(Mirrored(MediaUse::kAppend), observer_);

  EXPECT_TRUE(failed);
  EXPECT_THAT(status, HasReason(3202));
  EXPECT_THAT(status, MessageHas("b2"));
  for (const char* const target : {"a", "a2", "a3"}) {
    EXPECT_EQ(*devices_.medium(target), before);
  }
  ExpectNothingHarmed();
}

TEST_F(MirroredMediaSet, NeedAllTheirMembers) {
  writer_.files = {MemoryWriter::Pattern(50'000, 1)};
  EXPECT_THAT(engine_->Backup(Mirrored(MediaUse::kAppend), observer_), HasReason(3215));
  ASSERT_THAT(engine_->Backup(Mirrored(MediaUse::kFormat), observer_), IsOk());

  EXPECT_THAT(engine_->Backup(Request({"a", "b"}), observer_), HasReason(3240));
  BackupRequest uneven = Mirrored(MediaUse::kFormat);
  uneven.mirrors[1].pop_back();
  EXPECT_THAT(engine_->Backup(uneven, observer_), HasReason(3212));
  BackupRequest many = Mirrored(MediaUse::kFormat);
  many.mirrors.resize(4, {"x", "y"});
  EXPECT_THAT(engine_->Backup(many, observer_), HasReason(3214));
  EXPECT_THAT(RestoreSet({"a", "a2"}, 1), HasReason(3227));
}

// Random statements against what a media set is supposed to hold afterwards.
TEST_F(MediaSet, RandomStatementsDoWhatTheModelSays) {
  const auto seed = static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed()) + 1;
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  struct Model {
    std::vector<std::vector<std::string>> rows;  // families, then mirrors
    std::vector<std::pair<std::size_t, unsigned>> sets;
  } model;
  unsigned step = 0;
  for (int i = 0; i < 40 && !HasFailure(); ++i) {
    const bool format = model.rows.empty() || random() % 6 == 0;
    const bool init = !format && random() % 6 == 0;
    if (format) {
      model.rows.assign(1 + random() % 3, {});
      const std::size_t families = 1 + random() % 4;
      for (std::size_t row = 0; row < model.rows.size(); ++row) {
        for (std::size_t family = 0; family < families; ++family) {
          model.rows[row].push_back(fmt::format("m{}_{}", row, family));
        }
      }
    }
    BackupRequest request = Request({}, format ? MediaUse::kFormat
                                        : init ? MediaUse::kOverwrite
                                               : MediaUse::kAppend);
    std::vector<std::vector<std::string>> rows = model.rows;
    if (!format) {
      for (auto& row : rows) {
        std::shuffle(row.begin(), row.end(), random);
      }
      std::shuffle(rows.begin(), rows.end(), random);
    }
    request.transfer.targets = rows[0];
    request.mirrors.assign(rows.begin() + 1, rows.end());
    const std::size_t size = 512 * (1 + random() % 1500);
    writer_.files = {MemoryWriter::Pattern(size, ++step)};
    if (format || init) {
      model.sets.clear();
    }
    model.sets.emplace_back(size, step);

    ASSERT_THAT(engine_->Backup(request, observer_), IsOk()) << i;

    const std::size_t wanted = random() % model.sets.size();
    std::vector<std::string> from;
    for (std::size_t family = 0; family < model.rows[0].size(); ++family) {
      from.push_back(model.rows[random() % model.rows.size()][family]);
    }
    std::shuffle(from.begin(), from.end(), random);
    ASSERT_THAT(RestoreSet(from, static_cast<std::uint16_t>(wanted + 1)), IsOk()) << i;
    EXPECT_EQ(writer_.restored["/new"],
              MemoryWriter::Pattern(model.sets[wanted].first, model.sets[wanted].second));
    EXPECT_EQ(List(from[0]).sets.size(), model.sets.size());
  }
}

}  // namespace
}  // namespace capstan::engine
