#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

std::string DiskList(int count) {
  std::string list;
  for (int i = 0; i < count; ++i) {
    list += (i == 0 ? "DISK='" : ", DISK='") + std::to_string(i) + "'";
  }
  return list;
}

TEST(BackupParser, TakesTheShortestStatement) {
  const auto backup = ParseOne<BackupStatement>("backup database sales to disk='/srv/a.bak'");

  EXPECT_EQ(backup.database, "sales");
  ASSERT_EQ(backup.devices.size(), 1U);
  EXPECT_EQ(backup.devices[0].device_class, DeviceClass::kDisk);
  EXPECT_EQ(backup.devices[0].name, "/srv/a.bak");
  EXPECT_FALSE(backup.format || backup.init || backup.skip || backup.copy_only);
  EXPECT_FALSE(backup.transfer.checksum.has_value());
  EXPECT_FALSE(backup.transfer.stats_percent.has_value());
}

// S1-06
TEST(BackupParser, TakesBuffersAndTwoDevices) {
  const auto backup = ParseOne<BackupStatement>(R"(BACKUP DATABASE AdventureWorks TO
 DISK = 'M:\backups\AdventureWorks_FULL_01.bak',
 DISK = 'N:\backups\AdventureWorks_FULL_02.bak'
WITH BUFFERCOUNT = 10, MAXTRANSFERSIZE = 1048576)");

  EXPECT_EQ(backup.database, "AdventureWorks");
  ASSERT_EQ(backup.devices.size(), 2U);
  EXPECT_EQ(backup.devices[1].name, R"(N:\backups\AdventureWorks_FULL_02.bak)");
  EXPECT_EQ(backup.transfer.buffer_count, 10U);
  EXPECT_EQ(backup.transfer.max_transfer_size, 1048576U);
}

// S3-12
TEST(BackupParser, TakesTheFormattingExample) {
  const auto statements = ParseAll(R"(BACKUP DATABASE test TO DISK = N'E:\testbackup.bak'
      WITH FORMAT, INIT,
      NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10)");

  ASSERT_EQ(statements.size(), 1U);
  const auto& backup = std::get<BackupStatement>(statements[0].body);
  EXPECT_TRUE(backup.format && backup.init && backup.skip);
  EXPECT_EQ(backup.name, "testbackup-Full Database Backup");
  EXPECT_EQ(backup.transfer.stats_percent, 10);
  EXPECT_EQ(backup.devices[0].name, R"(E:\testbackup.bak)");
}

// S3-14, S3-16, S3-21, S3-25, S3-27
TEST(BackupParser, TakesTheOtherExamplesWithoutCompression) {
  ParseOne<BackupStatement>(R"(BACKUP DATABASE test TO DISK = N'E:\testbackup.bak'
      WITH NAME = N'testbackup-Full Database Backup', SKIP, NOREWIND, NOUNLOAD, STATS = 10)");
  const auto init = ParseOne<BackupStatement>(
      R"(BACKUP DATABASE test TO DISK = N'E:\testbackup.bak'
      WITH INIT, NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10)");
  EXPECT_TRUE(init.init);
  EXPECT_FALSE(init.format);
  const auto tape = ParseOne<BackupStatement>(R"(BACKUP DATABASE test TO TAPE = N'\\.\Tape0'
      WITH NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10)");
  EXPECT_EQ(tape.devices[0].device_class, DeviceClass::kTape);
  EXPECT_EQ(tape.devices[0].name, R"(\\.\Tape0)");
}

// S3-13, S3-24, S3-26
TEST(BackupParser, TakesTheCompressingExamples) {
  for (const char* text : {R"(BACKUP DATABASE test TO DISK = N'E:\testbackup.bak'
      WITH NAME = N'testbackup-Full Database Backup', SKIP, NOREWIND, NOUNLOAD, COMPRESSION, STATS = 10)",
                           R"(BACKUP DATABASE test TO TAPE = N'\\.\Tape0'
      WITH INIT, COMPRESSION,
      NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10)"}) {
    const auto backup = ParseOne<BackupStatement>(text);
    EXPECT_TRUE(backup.skip && backup.compression && backup.compression->on) << text;
  }
}

TEST(BackupParser, TakesEveryDeviceClass) {
  for (const DeviceClass device_class :
       {DeviceClass::kDisk, DeviceClass::kUrl, DeviceClass::kTape, DeviceClass::kVirtualDevice}) {
    const std::string name(DeviceClassName(device_class));
    const auto backup = ParseOne<BackupStatement>("BACKUP DATABASE d TO " + name + " = 'x'");
    EXPECT_EQ(backup.devices.at(0).device_class, device_class) << name;
  }
}

TEST(BackupParser, KeepsNamesAsWritten) {
  EXPECT_EQ(ParseOne<BackupStatement>("BACKUP DATABASE [My ]] db] TO DISK='x'").database,
            "My ] db");
  EXPECT_EQ(ParseOne<BackupStatement>("BACKUP DATABASE \"a\"\"b\" TO DISK='x'").database, "a\"b");
  EXPECT_EQ(ParseOne<BackupStatement>("BACKUP DATABASE Grün TO DISK='x'").database, "Grün");
  EXPECT_EQ(
      ParseOne<BackupStatement>("BACKUP DATABASE [select] TO DISK='it''s'").devices.at(0).name,
      "it's");
}

TEST(BackupParser, TakesEveryTextOption) {
  const auto backup = ParseOne<BackupStatement>(
      "BACKUP DATABASE d TO DISK='x' WITH COPY_ONLY, NO_COMPRESSION, STOP_ON_ERROR, RESTART, "
      "MEDIANAME='m', MEDIADESCRIPTION=N'md', NAME='', DESCRIPTION='d''d', CHECKSUM, "
      "BLOCKSIZE=65536, STATS");

  EXPECT_TRUE(backup.copy_only);
  EXPECT_EQ(backup.media_name, "m");
  EXPECT_EQ(backup.media_description, "md");
  EXPECT_EQ(backup.name, "");
  EXPECT_EQ(backup.description, "d'd");
  EXPECT_EQ(backup.transfer.checksum, true);
  EXPECT_EQ(backup.transfer.block_size, 65536U);
  EXPECT_EQ(backup.transfer.stats_percent, 10);
}

// S1-59
TEST(BackupParser, TakesUpTo64Devices) {
  EXPECT_EQ(ParseOne<BackupStatement>("BACKUP DATABASE d TO " + DiskList(64)).devices.size(), 64U);
  ExpectError({"BACKUP DATABASE d TO\n" + DiskList(65), 3205, "only 64 are allowed", 2});
}

TEST(BackupParser, RefusesBadDevices) {
  ExpectError({"BACKUP DATABASE d TO DISK='a', TAPE='b'", 3011, "same general class"});
  ExpectError({"BACKUP DATABASE d TO DISK='a', VIRTUAL_DEVICE='b'", 3011, "same general class"});
  ExpectError({"BACKUP DATABASE d TO DISK='a',\nDISK=N''", 3044, "zero-length device name", 2});
  ExpectError({"BACKUP DATABASE d TO nightly", 3206, "Backup device 'nightly' does not exist"});
  ExpectError({"BACKUP DATABASE d TO [DISK] ", 3206, "'DISK'"});
  ExpectError({"BACKUP DATABASE d TO PIPE='x'", 102, "near 'PIPE'"});
}

TEST(BackupParser, SaysWhereTheSyntaxBreaks) {
  for (const BadBatch& bad :
       std::vector<BadBatch>{{"BACKUP", 102, "Incorrect syntax near 'BACKUP'."},
                             {"BACKUP\nDATABASE", 102, "near 'DATABASE'.", 2},
                             {"BACKUP DATABASE d", 102, "near 'd'."},
                             {"BACKUP DATABASE d TO", 102, "near 'TO'."},
                             {"BACKUP DATABASE d TO DISK", 156, "keyword 'DISK'."},
                             {"BACKUP DATABASE d TO DISK =", 102, "near '='."},
                             {"BACKUP DATABASE d TO DISK = x", 102, "near 'x'."},
                             {"BACKUP DATABASE d TO DISK = \"x\"", 102, "near 'x'."},
                             {"BACKUP DATABASE d TO DISK = @x", 102, "near '@x'."},
                             {"BACKUP DATABASE @d TO DISK = 'x'", 102, "near '@d'."},
                             {"BACKUP DATABASE 'd' TO DISK = 'x'", 102, "near 'd'."},
                             {"BACKUP DATABASE table TO DISK = 'x'", 156,
                              "Incorrect syntax near the keyword 'table'."},
                             {"BACKUP DATABASE a.b TO DISK = 'x'", 102, "near '.'."},
                             {"BACKUP DATABASE d TO DISK = 'x',", 102, "near ','."},
                             {"BACKUP DATABASE d FROM DISK = 'x'", 156, "keyword 'FROM'."},
                             {"BACKUP DATABASE d TO DISK = 'x' INIT", 102, "near 'INIT'."},
                             {"BACKUP TABLE t TO DISK = 'x'", 156, "keyword 'TABLE'."},
                             {"BACKUP sales TO DISK = 'x'", 102, "near 'sales'."}}) {
    ExpectError(bad);
  }
}

TEST(BackupParser, TakesUpToThreeMirrors) {
  const auto backup = ParseOne<BackupStatement>(
      "BACKUP DATABASE d TO DISK='a', DISK='b' MIRROR TO DISK='c', DISK='d'\n"
      "MIRROR TO DISK='e', DISK='f' MIRROR TO DISK='g', DISK='h' WITH FORMAT");
  ASSERT_EQ(backup.mirrors.size(), 3U);
  EXPECT_EQ(backup.mirrors[0][1].name, "d");
  EXPECT_EQ(backup.mirrors[2][0].name, "g");
}

// S1-59
TEST(BackupParser, RefusesMirrorsThatAreNotLikeTheFirstCopy) {
  const std::string to = "BACKUP DATABASE d TO DISK='a'";
  for (const BadBatch& bad : std::vector<BadBatch>{
           {to + " MIRROR TO DISK='b' MIRROR TO DISK='c' MIRROR TO DISK='d' MIRROR TO DISK='e'",
            3214, "Only 3 are allowed."},
           {to + "\nMIRROR TO DISK='b', DISK='c'", 3212,
            "The mirror device \"a\" and the mirror device \"b\" have different", 2},
           {to + " MIRROR TO TAPE='b'", 3011, "same general class"},
           {to + " MIRROR TO DISK=''", 3044, "zero-length"},
           {to + " MIRROR DISK='b'", 156, "keyword 'DISK'."},
           {"BACKUP DATABASE d TO " + DiskList(22) + " MIRROR TO " + DiskList(22) + " MIRROR TO " +
                DiskList(22),
            3205, "only 64 are allowed"},
           {"BACKUP DATABASE d TO VIRTUAL_DEVICE='a' MIRROR TO VIRTUAL_DEVICE='b' WITH SNAPSHOT",
            3277, "one virtual device"}}) {
    ExpectError(bad);
  }
  EXPECT_EQ(ParseOne<BackupStatement>("BACKUP DATABASE d TO " + DiskList(32) + " MIRROR TO " +
                                      DiskList(32))
                .mirrors.size(),
            1U);
}

TEST(BackupParser, RefusesWhatIsNotSupportedByName) {
  for (const BadBatch& bad : std::vector<BadBatch>{
           {"BACKUP TRANSACTION d TO DISK='x'", 3032, "(transaction)"},
           {"BACKUP DATABASE d FILE='f' TO DISK='x'", 3032, "(file)"},
           {"BACKUP DATABASE d FILEGROUP='f' TO DISK='x'", 3032, "(filegroup)"},
           {"BACKUP DATABASE d READ_WRITE_FILEGROUPS TO DISK='x'", 3032, "(read_write_filegroups)"},
           {"BACKUP GROUP a, b TO DISK='x' WITH METADATA_ONLY, FORMAT", 3032, "(group)"},
           {"BACKUP SERVER TO DISK='x' WITH METADATA_ONLY, FORMAT", 3032, "(server)"}}) {
    ExpectError(bad);
    EXPECT_NE(ErrorOf(bad.batch).status.hint(), "") << bad.batch;
  }
}

}  // namespace
}  // namespace capstan::tsql
