// Random histories of backups and random orders of restoring them, compared with a model: every
// wrong order is refused with the right number and LSN, every right one gives the right contents.
#include <cstdlib>
#include <optional>
#include <random>

#include "tests/unit/server/engine/chain_fixture.h"

namespace capstan::engine {
namespace {

using Files = std::vector<test::MemoryWriter::Bytes>;

struct Made {
  std::string target;
  media::BackupSet set;
  Files files;  // as they were at its end
};

// What the rules of chains say, in one place and without the engine's own words.
struct Model {
  enum class State { kNone, kRestoring, kOnline } state = State::kNone;
  Guid base;
  std::uint64_t redo = 0;
  Files files;

  // The message that a set must be refused with, and what it must name; 0: it must not be.
  std::pair<int, std::string> Refusal(const Made& made) const {
    if (made.set.kind == media::SetKind::kDatabase) {
      return {state == State::kOnline ? 3154 : 0, ""};
    }
    if (state != State::kRestoring) {
      return {state == State::kNone ? 3118 : 3117, ""};
    }
    if (made.set.kind == media::SetKind::kDifferential) {
      return {made.set.differential_base_guid != base || made.set.last_lsn < redo ? 3136 : 0, ""};
    }
    if (made.set.first_lsn > redo) {
      return {4305,
              fmt::format("begins at LSN {}, which is too recent to apply to the database. An "
                          "earlier log backup that includes LSN {} ",
                          made.set.first_lsn, redo)};
    }
    const bool empty = made.set.first_lsn == made.set.last_lsn;
    if (made.set.last_lsn < redo || (made.set.last_lsn == redo && !empty)) {
      return {4326,
              fmt::format("terminates at LSN {}, which is too early to apply to the database. "
                          "A more recent log backup that includes LSN {} ",
                          made.set.last_lsn, redo)};
    }
    return {0, ""};
  }
  void Apply(const Made& made, bool recover) {
    if (made.set.kind == media::SetKind::kDatabase) {
      base = made.set.backup_set_guid;
    }
    redo = made.set.last_lsn;
    files = made.files;
    state = recover ? State::kOnline : State::kRestoring;
  }
};

class ChainProperty : public ChainFixture {
 protected:
  std::uint64_t Below(std::uint64_t bound) { return random_() % bound; }

  void Change() {
    for (std::uint64_t n = Below(4); n > 0; --n) {
      writer_.Write(static_cast<std::uint32_t>(Below(2)), Below(kPages),
                    static_cast<unsigned char>(Below(256)));
    }
  }
  void MakeBackup(std::size_t number) {
    Change();
    const Kind kind = made_.empty() || Below(5) == 0 ? kFull : Below(3) == 0 ? kDifferential : kLog;
    BackupRequest request = Request(kind, "m" + std::to_string(number));
    request.copy_only = !made_.empty() && Below(6) == 0;
    if (Below(6) == 0) {
      writer_.fail_read = 1;  // at its first extent, if it has one
      const Status failed = engine_->Backup(request, observer_);
      EXPECT_EQ(failed.ok(), writer_.fail_read == 1) << failed.message();
      if (failed.ok()) {
        writer_.fail_read = 0;
      }
    }
    ASSERT_THAT(engine_->Backup(request, observer_), test::IsOk());
    const auto sets = catalog_->SetsOf("sales").value();
    const auto newest = std::find_if(sets.begin(), sets.end(), [&](const auto& known) {
      return !known.places.empty() && known.places[0].target == request.transfer.targets[0];
    });
    ASSERT_NE(newest, sets.end());
    made_.push_back({request.transfer.targets[0], newest->set, writer_.files});
  }
  void TryRestore() {
    const Made& made = made_[Below(made_.size())];
    const bool recover = Below(8) == 0;
    const Kind kind = made.set.kind == media::SetKind::kLog            ? kLog
                      : made.set.kind == media::SetKind::kDifferential ? kDifferential
                                                                       : kFull;
    const auto [number, text] = model_.Refusal(made);
    const bool reaches_commit =
        number == 0 && (kind != kLog || made.set.first_lsn != made.set.last_lsn);
    if (reaches_commit && Below(5) == 0) {
      writer_.on_restore_commit = [] { return SqlError(3101); };
      EXPECT_THAT(Apply(kind, made.target), test::HasReason(3101));
      writer_.on_restore_commit = nullptr;
      ++failed_;
      CheckState();  // as if nothing had been tried
    }
    const Status status = Apply(kind, made.target, recover ? End::kRecovery : End::kNoRecovery);
    EXPECT_EQ(status.reason(), number) << status.message();
    EXPECT_THAT(status, test::MessageHas(text));
    if (number == 0) {
      model_.Apply(made, recover);
      ++applied_;
    } else {
      ++refused_;
    }
    CheckState();
  }
  void CheckState() {
    if (model_.state == Model::State::kNone) {
      EXPECT_THAT(catalog_->FindDatabase("copy"), test::HasReason(911));
      return;
    }
    EXPECT_EQ(Now().state,
              model_.state == Model::State::kOnline ? State::kOnline : State::kRestoring);
    if (model_.state == Model::State::kOnline) {
      ExpectCopyIs(model_.files);
      ASSERT_THAT(engine_->Detach("copy"), test::IsOk());
      writer_.restored.clear();
      model_ = Model();
      return;
    }
    EXPECT_EQ(Now().redo_lsn, model_.redo);
    EXPECT_EQ(Now().base_guid, model_.base);
    EXPECT_TRUE(writer_.restoring["/db/copy"].files == model_.files);
  }

  std::mt19937_64 random_;
  std::vector<Made> made_;
  Model model_;
  int applied_ = 0;
  int refused_ = 0;
  int failed_ = 0;
};

// A longer run: CAPSTAN_CHAIN_ROUNDS=200 engine_chain_test --gtest_filter='ChainProperty.*'
TEST_F(ChainProperty, EveryOrderIsRefusedOrRight) {
  const char* const wish = std::getenv("CAPSTAN_CHAIN_ROUNDS");
  const std::uint64_t rounds = wish != nullptr ? std::strtoull(wish, nullptr, 10) : 3;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    SCOPED_TRACE(fmt::format("seed {}", round));
    random_.seed(round);
    made_.clear();
    for (std::size_t number = 0; number < 12; ++number) {
      ASSERT_NO_FATAL_FAILURE(MakeBackup(number));
    }
    for (int n = 0; n < 60 && !HasFailure(); ++n) {
      ASSERT_NO_FATAL_FAILURE(TryRestore());
    }
    if (catalog_->FindDatabase("copy").ok()) {
      ASSERT_THAT(engine_->Detach("copy"), test::IsOk());
      model_ = Model();
    }
  }
  EXPECT_GT(applied_, 20);
  EXPECT_GT(refused_, 20);
  EXPECT_GT(failed_, 3);
}

}  // namespace
}  // namespace capstan::engine
