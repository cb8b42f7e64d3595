#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(RestoreParser, TakesTheShortestStatement) {
  const auto restore = ParseOne<RestoreStatement>("RESTORE DATABASE sales FROM DISK='/srv/a.bak'");

  EXPECT_EQ(restore.database, "sales");
  EXPECT_EQ(restore.devices.at(0).name, "/srv/a.bak");
  EXPECT_EQ(restore.file_number, 1);
  EXPECT_FALSE(restore.replace);
  EXPECT_TRUE(restore.moves.empty());
}

// S4-34, S4-35 in their streaming form
TEST(RestoreParser, TakesEveryOption) {
  const auto restore = ParseOne<RestoreStatement>(R"(
RESTORE DATABASE [testdb1]
FROM DISK = 'd:\temp\a.bak', DISK = 'd:\temp\b.bak'
WITH FILE = 3, REPLACE, --> the third set
MOVE 'testdb1' TO 'd:\temp\snap\testdb1.mdf',
MOVE N'testdb1_log' TO N'd:\temp\snap\testdb1_log.ldf',
RECOVERY, CHECKSUM, STATS = 5, BUFFERCOUNT = 4, MAXTRANSFERSIZE = 65536, BLOCKSIZE = 512,
NOUNLOAD, NOREWIND, STOP_ON_ERROR;)");

  EXPECT_EQ(restore.devices.size(), 2U);
  EXPECT_EQ(restore.file_number, 3);
  EXPECT_TRUE(restore.replace);
  EXPECT_THAT(restore.moves, ElementsAre(Pair("testdb1", R"(d:\temp\snap\testdb1.mdf)"),
                                         Pair("testdb1_log", R"(d:\temp\snap\testdb1_log.ldf)")));
  EXPECT_EQ(restore.transfer.checksum, true);
  EXPECT_EQ(restore.transfer.stats_percent, 5);
  EXPECT_EQ(restore.transfer.buffer_count, 4U);
  EXPECT_EQ(restore.transfer.max_transfer_size, 65536U);
  EXPECT_EQ(restore.transfer.block_size, 512U);
}

// S0-28, S3-11, S3-23
TEST(RestoreParser, TakesTheQueries) {
  const std::vector<std::pair<std::string, RestoreQuery>> forms = {
      {"LABELONLY", RestoreQuery::kLabelOnly},
      {"HeaderOnly", RestoreQuery::kHeaderOnly},
      {"FILELISTONLY", RestoreQuery::kFileListOnly},
      {"verifyonly", RestoreQuery::kVerifyOnly},
      {"MediaMap", RestoreQuery::kMediaMap}};
  for (const auto& [word, query] : forms) {
    const auto restore = ParseOne<RestoreQueryStatement>(
        "RESTORE " + word + " FROM DISK = N'a', DISK = 'b' WITH NO_CHECKSUM, STATS, NOUNLOAD");
    EXPECT_EQ(restore.query, query) << word;
    EXPECT_EQ(restore.devices.size(), 2U) << word;
    EXPECT_EQ(restore.file_number, 1) << word;
    EXPECT_EQ(restore.transfer.checksum, false) << word;
    EXPECT_EQ(restore.transfer.stats_percent, 10) << word;
  }
  ParseOne<RestoreQueryStatement>(R"(RESTORE HEADERONLY FROM TAPE = N'\\.\Tape0')");
}

// S4-31
TEST(RestoreParser, TakesTheSetNumberWhereASetIsMeant) {
  for (const char* form : {"HEADERONLY", "FILELISTONLY", "VERIFYONLY"}) {
    const auto restore = ParseOne<RestoreQueryStatement>(std::string("RESTORE ") + form +
                                                         " FROM DISK='a' WITH FILE = 65535");
    EXPECT_EQ(restore.file_number, 65535) << form;
  }
  ExpectError({"RESTORE LABELONLY FROM DISK='a' WITH FILE = 1", 3032, "(file)"});
  ExpectError({"RESTORE MEDIAMAP FROM DISK='a' WITH FILE = 1", 3032, "(file)"});
}

TEST(RestoreParser, SaysWhereTheSyntaxBreaks) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"RESTORE", 102, "near 'RESTORE'."},
           {"RESTORE DATABASE", 102, "near 'DATABASE'."},
           {"RESTORE HEADERONLY", 102, "near 'HEADERONLY'."},
           {"RESTORE HEADERONLY TO DISK='x'", 156, "keyword 'TO'."},
           {"RESTORE NOTHINGONLY FROM DISK='x'", 102, "near 'NOTHINGONLY'."},
           {"RESTORE DATABASE d TO DISK='x'", 156, "keyword 'TO'."},
           {"RESTORE DATABASE d FROM DISK='x' WITH MOVE 'a', REPLACE", 102, "near ','."},
           {"RESTORE DATABASE d FROM DISK='x' WITH MOVE 'a' TO b", 102, "near 'b'."},
           {"RESTORE DATABASE d FROM DISK='x'\nWITH MOVE a TO 'b'", 102, "near 'a'.", 2},
           {"RESTORE DATABASE d FROM DISK='x' WITH MOVE 'a' TO ''", 3217, "for MOVE parameter"},
           {"RESTORE DATABASE d", 3207, "at least one backup device"},
           {"RESTORE LOG d", 3207, "at least one backup device"},
           {"RESTORE DATABASE d FROM DISK=''", 3044, "zero-length"},
           {"RESTORE DATABASE d FROM DISK='a', URL='b'", 3011, "same general class"}}) {
    ExpectError(bad);
  }
}

// S4-29..S4-41 name forms that this version refuses
TEST(RestoreParser, RefusesWhatIsNotSupportedByName) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"RESTORE BACKUPSETONLY FROM DISK='x' WITH METADATA_ONLY", 3032, "(backupsetonly)"},
           {"RESTORE REWINDONLY FROM TAPE='x'", 3032, "(rewindonly)"},
           {"RESTORE DATABASE d PAGE='1:5' FROM DISK='x'", 3032, "(page)"},
           {"RESTORE DATABASE d FILE='f' FROM DISK='x'", 3032, "(file)"},
           {"RESTORE DATABASE d FROM DATABASE_SNAPSHOT = 's'", 3032, "(database_snapshot)"},
           {"RESTORE DATABASE d FROM DISK='x' WITH STOPAT = '2020-01-01', PARTIAL", 3032,
            "(partial)"},
           {"RESTORE LOG d FROM DISK='x' WITH SNAPSHOT", 3032, "(snapshot)"},
           {"RESTORE DATABASE d WITH NORECOVERY", 3032, "(norecovery)"},
           {"RESTORE DATABASE d FROM CATALOG WITH FILE = 2", 3032, "(file)"},
           {"RESTORE DATABASE d FROM DISK='x' SOURCE = 'e'", 3032, "(source)"},
           {"RESTORE DATABASE d FROM DISK='x' WITH FILE = 3, DBNAME = 'e', METADATA_ONLY", 3032,
            "(dbname, metadata_only)"},
           {"RESTORE LABELONLY FROM DISK='x' WITH LOADHISTORY", 3032, "(loadhistory)"},
           {"RESTORE FILELISTONLY FROM DISK='x' WITH MOVE 'a' TO 'b'", 3032, "(move)"},
           {"RESTORE HEADERONLY FROM DISK='x' WITH REPLACE", 3032, "(replace)"}}) {
    ExpectError(bad);
    EXPECT_NE(ErrorOf(bad.batch).status.hint(), "") << bad.batch;
  }
}

}  // namespace
}  // namespace capstan::tsql
