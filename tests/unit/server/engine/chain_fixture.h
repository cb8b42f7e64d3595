// ChainFixture: the engine over a memory writer that keeps a log, and short ways to back up and
// restore the members of a chain.
#pragma once

#include <string>
#include <vector>

#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {

class ChainFixture : public EngineFixture {
 protected:
  using Kind = writers::BackupKind;
  using End = writers::RestoreEnd;
  using State = catalog::RollForward::State;
  static constexpr std::uint64_t kPages = 40;
  static constexpr auto kFull = Kind::kFull;
  static constexpr auto kDifferential = Kind::kDifferential;
  static constexpr auto kLog = Kind::kLog;

  void SetUp() override {
    writer_.logged = true;
    writer_.files = {test::MemoryWriter::Pattern(kPages * test::kMemoryPage, 1),
                     test::MemoryWriter::Pattern(kPages * test::kMemoryPage, 2)};
    EngineFixture::SetUp();
  }

  static BackupRequest Request(Kind kind, const std::string& target) {
    BackupRequest request;
    request.transfer = Transfer({target});
    request.database = "sales";
    request.kind = kind;
    request.media_use = MediaUse::kFormat;
    return request;
  }
  Status BackUp(Kind kind, const std::string& target) {
    return engine_->Backup(Request(kind, target), observer_);
  }
  Status BackUpTail(const std::string& target, writers::LogTail tail) {
    BackupRequest request = Request(kLog, target);
    request.tail = tail;
    return engine_->Backup(request, observer_);
  }

  // Onto "copy" at /db/copy and /db/copy2.
  static RestoreRequest RestoreOf(Kind kind, const std::string& target, End end) {
    RestoreRequest request;
    request.transfer = Transfer({target});
    request.database = "copy";
    request.log = kind == kLog;
    request.end = end;
    if (kind == kFull) {
      request.moves = {{"sales", "/db/copy"}, {"sales2", "/db/copy2"}};
    }
    return request;
  }
  Status Apply(Kind kind, const std::string& target, End end = End::kNoRecovery) {
    return engine_->Restore(RestoreOf(kind, target, end), observer_);
  }
  Status Recover(End end = End::kRecovery) {
    RecoverRequest request;
    request.database = "copy";
    request.end = end;
    return engine_->Recover(request, observer_);
  }

  catalog::RollForward Now(const std::string& database = "copy") {
    const auto found = catalog_->FindDatabase(database);
    EXPECT_THAT(found, test::IsOk());
    return found.ok() ? found->roll_forward : catalog::RollForward();
  }
  // The newest set in the history.
  media::BackupSet Newest() {
    const auto sets = catalog_->SetsOf("sales");
    EXPECT_THAT(sets, test::IsOk());
    return sets.ok() && !sets->empty() ? sets->back().set : media::BackupSet();
  }
  void ExpectCopyIs(const std::vector<test::MemoryWriter::Bytes>& files) {
    EXPECT_TRUE(writer_.restored["/db/copy"] == files[0]);
    EXPECT_TRUE(writer_.restored["/db/copy2"] == files[1]);
  }
};

}  // namespace capstan::engine
