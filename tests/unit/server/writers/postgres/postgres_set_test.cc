#include "server/writers/postgres/postgres_set.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::IsOk;

PostgresSet Sample() {
  return {.system_identifier = 7123456789012345678,
          .timeline = 3,
          .timeline_begin_lsn = 0x5000000,
          .start_lsn = 0x6000028,
          .start_unix_us = 1700000000000000,
          .server_version = 150010,
          .control_version = 1300,
          .catalog_version = 202209061,
          .block_bytes = 8192,
          .relation_segment_blocks = 131072,
          .wal_block_bytes = 8192,
          .wal_segment_bytes = 16 << 20,
          .data_checksums = true,
          .from_standby = false,
          .data_directory = "/var/lib/postgresql/15/main",
          .config_file = "/etc/postgresql/15/main/postgresql.conf",
          .hba_file = "/etc/postgresql/15/main/pg_hba.conf",
          .ident_file = "/etc/postgresql/15/main/pg_ident.conf",
          .tablespaces = {{.oid = 16384, .name = "fast", .location = "/mnt/fast"}},
          .database_folders = {{.tablespace_oid = 1663, .database_oid = 5},
                               {.tablespace_oid = 16384, .database_oid = 16385}}};
}

TEST(PostgresSet, ComesBackAsItWentIn) {
  const auto bytes = EncodePostgresSet(Sample());
  ASSERT_THAT(bytes, IsOk());

  const auto set = DecodePostgresSet(*bytes);

  ASSERT_THAT(set, IsOk());
  EXPECT_EQ(set->system_identifier, 7123456789012345678U);
  EXPECT_EQ(set->timeline_begin_lsn, 0x5000000U);
  EXPECT_EQ(set->start_lsn, 0x6000028U);
  EXPECT_EQ(set->catalog_version, 202209061U);
  EXPECT_TRUE(set->data_checksums);
  EXPECT_FALSE(set->from_standby);
  EXPECT_EQ(set->ident_file, "/etc/postgresql/15/main/pg_ident.conf");
  ASSERT_EQ(set->tablespaces.size(), 1U);
  EXPECT_EQ(set->tablespaces[0].location, "/mnt/fast");
  EXPECT_EQ(set->database_folders, Sample().database_folders);
}

TEST(PostgresSet, IsRefusedWhenItIsCutOrLengthened) {
  std::string bytes = EncodePostgresSet(Sample()).value();

  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(DecodePostgresSet(bytes.substr(0, size)), HasCode(Code::kDataLoss)) << size;
  }
  EXPECT_THAT(DecodePostgresSet(bytes + "x"), HasCode(Code::kDataLoss));
}

TEST(PostgresSet, IsRefusedWithSizesThatCannotBe) {
  PostgresSet set = Sample();
  set.block_bytes = 8191;
  EXPECT_THAT(DecodePostgresSet(EncodePostgresSet(set).value()), HasCode(Code::kDataLoss));
  set = Sample();
  set.wal_segment_bytes = 0;
  EXPECT_THAT(DecodePostgresSet(EncodePostgresSet(set).value()), HasCode(Code::kDataLoss));
}

TEST(PostgresSet, NamesAsManyDatabaseFoldersAsFit) {
  PostgresSet set = Sample();
  set.database_folders.resize(100000, {1663, 7});

  const auto bytes = EncodePostgresSet(set);

  ASSERT_THAT(bytes, IsOk());
  EXPECT_LE(bytes->size(), 64U << 10);
  EXPECT_GT(DecodePostgresSet(*bytes).value().database_folders.size(), 7000U);
}

TEST(PostgresSet, HasNoRoomForTooManyTablespaces) {
  PostgresSet set = Sample();
  set.tablespaces.resize(10000, set.tablespaces[0]);

  EXPECT_THAT(EncodePostgresSet(set), HasCode(Code::kResourceExhausted));
}

}  // namespace
}  // namespace capstan::writers
