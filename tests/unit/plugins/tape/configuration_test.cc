#include "plugins/tape/configuration.h"

#include <cerrno>
#include <fstream>

#include <gmock/gmock.h>

#include "tests/support/temporary_directory.h"

namespace capstan::tape {
namespace {

using testing::HasSubstr;

TEST(TapeConfiguration, ResolvesTheNamesOfStatements) {
  Configuration configuration;
  EXPECT_TRUE(configuration.empty());
  ASSERT_FALSE(configuration.Set("library.vault", "/srv/vault").failed());
  DriveAddress drive;

  // S3-27: of the only library.
  ASSERT_FALSE(configuration.Find("\\\\.\\Tape1", &drive).failed());
  EXPECT_EQ(drive.name, "vault/1");
  EXPECT_EQ(drive.changer, "/srv/vault");
  EXPECT_EQ(drive.index, 1U);
  EXPECT_TRUE(drive.url.empty());
  ASSERT_FALSE(configuration.Find("vault/0", &drive).failed());
  EXPECT_EQ(drive.index, 0U);

  ASSERT_FALSE(configuration.Set("library.robot", "iscsi://host/iqn/0").failed());
  ASSERT_FALSE(configuration.Set("drive.robot/0", "iscsi://host/iqn/1").failed());
  ASSERT_FALSE(configuration.Set("tape0", "robot/0").failed());
  ASSERT_FALSE(configuration.Set("tape1", "/dev/nst0").failed());
  ASSERT_FALSE(configuration.Find("\\\\.\\tape0", &drive).failed());
  EXPECT_EQ(drive.name, "robot/0");
  EXPECT_EQ(drive.url, "iscsi://host/iqn/1");
  EXPECT_EQ(drive.changer, "iscsi://host/iqn/0");
  ASSERT_FALSE(configuration.Find("\\\\.\\TAPE1", &drive).failed());
  EXPECT_EQ(drive.name, "tape1");
  EXPECT_EQ(drive.url, "/dev/nst0");
  EXPECT_TRUE(drive.library.empty());
  ASSERT_FALSE(configuration.Find("/dev/nst3", &drive).failed());
  EXPECT_EQ(drive.url, "/dev/nst3");
}

TEST(TapeConfiguration, UnknownDrivesAreRefusedWithThoseThereAre) {
  Configuration configuration;
  DriveAddress drive;
  Failure failure = configuration.Find("\\\\.\\Tape0", &drive);
  EXPECT_EQ(failure.os_error, ENODEV);
  EXPECT_THAT(failure.hint, HasSubstr("library.NAME"));

  ASSERT_FALSE(configuration.Set("library.a", "/a").failed());
  ASSERT_FALSE(configuration.Set("library.b", "/dev/sg1").failed());
  ASSERT_FALSE(configuration.Set("tape1", "a/0").failed());
  for (const char* target : {"\\\\.\\Tape0", "c/0", "a/x", "a", "\\\\.\\Tape", "/tmp/file", ""}) {
    failure = configuration.Find(target, &drive);
    EXPECT_EQ(failure.os_error, ENODEV) << target;
    EXPECT_THAT(failure.hint, HasSubstr("\\\\.\\Tape1, a/0, b/0")) << target;
  }
  EXPECT_THAT(configuration.Find("b/0", &drive).hint, HasSubstr("drive.b/0"));
}

TEST(TapeConfiguration, WrongOptionsNameThoseThatAreRight) {
  Configuration configuration;
  EXPECT_THAT(configuration.Set("libary.vault", "/srv").hint, HasSubstr("library.NAME"));
  for (const auto& [key, value] :
       {std::pair("library.a/b", "/srv"), std::pair("library.a", "srv"),
        std::pair("library.", "/srv"), std::pair("drive.a", "/dev/nst0"),
        std::pair("drive.a/0", "/srv"), std::pair("tapeX", "a/0"), std::pair("tape0", "a"),
        std::pair("block_size", "100"), std::pair("block_size", "many"),
        std::pair("block_size", "16777216"), std::pair("eject_when_done", "1"),
        std::pair("notes", "here")}) {
    const Failure failure = configuration.Set(key, value);
    EXPECT_EQ(failure.os_error, EINVAL) << key;
    EXPECT_FALSE(failure.hint.empty()) << key;
  }
}

TEST(TapeConfiguration, AFileSaysTheSame) {
  const test::TemporaryDirectory directory;
  const std::string path = directory.Under("tape.toml");
  std::ofstream(path) << "block_size = 65536\neject_when_done = true\nnotes = '/var/notes'\n"
                         "tape0 = 'vault/1'\n[library]\nvault = '/srv/vault'\n"
                         "[drive]\n'vault/1' = '/dev/nst1'\n";
  Configuration configuration;
  const Failure loaded = configuration.Load(path);
  ASSERT_FALSE(loaded.failed()) << loaded.message;
  DriveAddress drive;
  ASSERT_FALSE(configuration.Find("\\\\.\\Tape0", &drive).failed());
  EXPECT_EQ(drive.name, "vault/1");
  EXPECT_EQ(configuration.usage().block_size, 65536U);
  EXPECT_TRUE(configuration.usage().eject_when_done);
  EXPECT_EQ(configuration.usage().notes, "/var/notes");

  std::ofstream(path) << "[library]\n\nvault = 7.5\n";
  EXPECT_THAT(configuration.Load(path).message, HasSubstr("tape.toml, line 3: library.vault"));
  std::ofstream(path) << "\nblock = 1\n";
  EXPECT_THAT(configuration.Load(path).message, HasSubstr("line 2: unknown option 'block'"));
  std::ofstream(path) << "a b\n";
  EXPECT_THAT(configuration.Load(path).message, HasSubstr("line 1"));
  EXPECT_TRUE(configuration.Load(directory.Under("none.toml")).failed());
}

}  // namespace
}  // namespace capstan::tape
