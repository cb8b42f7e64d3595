#include "server/media/descriptor_codec.h"

#include <gtest/gtest.h>

namespace capstan::media {
namespace {

BackupSet Log() {
  BackupSet set;
  set.backup_set_guid = Guid::Random();
  set.kind = SetKind::kLog;
  set.transfer_size = 65'536;
  set.differential_base_lsn = 7;
  set.differential_base_guid = Guid::Random();
  set.recovery_fork = Guid::Random();
  set.first_recovery_fork = Guid::Random();
  set.begins_log_chain = true;
  set.restarts_log = true;
  set.tail_log = true;
  set.writer_data = std::string("\0\xFF text", 7);
  set.SetStart(1'785'600'001'000'002);
  set.SetFinish(1'785'600'003'000'004);
  set.files = {{.logical_name = "sales_log", .type = 'L', .whole = false}, {.file_id = 2}};
  return set;
}

std::optional<BackupSet> Decode(const std::string& text) {
  return DecodeDescriptor(std::as_bytes(std::span(text)));
}

TEST(DescriptorCodec, KeepsWhatASetSaysOfTheLog) {
  const BackupSet log = Log();

  const auto set = Decode(EncodeDescriptor(log));

  ASSERT_TRUE(set.has_value());
  EXPECT_EQ(set->kind, SetKind::kLog);
  EXPECT_EQ(set->differential_base_lsn, 7u);
  EXPECT_EQ(set->differential_base_guid, log.differential_base_guid);
  EXPECT_EQ(set->recovery_fork, log.recovery_fork);
  EXPECT_EQ(set->first_recovery_fork, log.first_recovery_fork);
  EXPECT_TRUE(set->begins_log_chain);
  EXPECT_TRUE(set->restarts_log);
  EXPECT_TRUE(set->tail_log);
  EXPECT_EQ(set->writer_data, log.writer_data);
  EXPECT_EQ(set->start_unix_us, 1'785'600'001'000'002);
  EXPECT_EQ(set->finish_unix_us, 1'785'600'003'000'004);
  EXPECT_FALSE(set->files[0].whole);
  EXPECT_TRUE(set->files[1].whole);
}

// S2-21. What no server asked about is not made up.
TEST(DescriptorCodec, KeepsWhetherTheDatabaseWasReadOnlyAndWhetherThatIsKnown) {
  BackupSet set = Log();
  for (const std::optional<bool> read_only :
       {std::optional<bool>(), std::optional(false), std::optional(true)}) {
    set.is_read_only = read_only;
    EXPECT_EQ(Decode(EncodeDescriptor(set))->is_read_only, read_only);
  }
}

TEST(DescriptorCodec, RefusesWriterDataWithoutEnd) {
  BackupSet set = Log();
  set.writer_data.assign(64 << 10, 'x');
  EXPECT_TRUE(Decode(EncodeDescriptor(set)).has_value());
  set.writer_data.push_back('x');
  EXPECT_FALSE(Decode(EncodeDescriptor(set)).has_value());
}

}  // namespace
}  // namespace capstan::media
