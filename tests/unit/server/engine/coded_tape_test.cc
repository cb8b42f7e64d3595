// Compressed and encrypted backups over devices whose media are changed, with filemarks and blocks
// of their own.

#include <gtest/gtest.h>

#include "tests/unit/server/engine/coding_samples.h"
#include "tests/unit/server/engine/removable_fixture.h"

namespace capstan::engine {
namespace {

using test::IsOk;

class CodedTape : public TapeFixture {
 protected:
  void SetUp() override {
    passphrase_ = WritePassphrase(directory_.Under("passphrase"), "correct horse");
  }
  Status BackUp(std::vector<std::string> targets, const CodingSample& coding) {
    BackupRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "sales";
    request.media_use = MediaUse::kFormat;
    request.compression = coding.compression.has_value();
    request.compression_settings = coding.compression.value_or(transform::Compression());
    if (coding.encrypted) {
      request.encryption = {.encryptor = passphrase_};
    }
    return engine_->Backup(request, observer_);
  }
  Status RestoreCopy(std::vector<std::string> targets) {
    writer_.restored.clear();
    RestoreRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "copy";
    request.moves = {{"sales", "/new"}};
    if (writer_.files.size() > 1) {
      request.moves.emplace_back("sales2", "/new2");
    }
    request.replace = true;
    request.passphrase = passphrase_;
    return engine_->Restore(request, observer_);
  }

  // A passphrase takes its time.
  static std::vector<CodingSample> SomeCodings() {
    std::vector<CodingSample> codings = AllCodings();
    codings.erase(codings.begin() + 1, codings.begin() + 3);
    return codings;
  }

  transform::Secret passphrase_;
};

TEST_F(CodedTape, PacksFramesInBlocksOfTheDevice) {
  writer_.files = {Rows(900'000, 1), Rows(100'000, 2)};
  for (const std::uint32_t block_size : {512U, 16384U, 65536U}) {
    block_size_ = block_size;
    for (const CodingSample& coding : SomeCodings()) {
      SCOPED_TRACE(coding.name + " in blocks of " + std::to_string(block_size));
      ASSERT_THAT(BackUp({"t", "u"}, coding), IsOk());
      ASSERT_THAT(RestoreCopy({"t", "u"}), IsOk());
      ExpectRestored();
    }
  }
}

TEST_F(CodedTape, GoesOnOnOtherMedia) {
  writer_.files = {Rows(1'200'000, 1)};
  for (const std::uint32_t block_size : {4096U, 65536U}) {
    block_size_ = block_size;
    UseCapacity(420'000, 210'000);
    devices_.options.tells_zone = true;
    for (const CodingSample& coding : SomeCodings()) {
      SCOPED_TRACE(coding.name + " in blocks of " + std::to_string(block_size));
      ASSERT_THAT(BackUp({"t"}, coding), IsOk());
      devices_.Finish();
      EXPECT_GT(devices_.cartridges("t").size(), 1U);
      ASSERT_THAT(RestoreCopy({"t"}), IsOk());
      ExpectRestored();
    }
  }
}

}  // namespace
}  // namespace capstan::engine
