// A restore that is interrupted at any read, any number of times, plain or coded, has in the end
// restored every byte, and each try begins where the one before was (S0-50).

#include <random>

#include <gmock/gmock.h>

#include "tests/unit/server/engine/restart/restart_fixture.h"

namespace capstan::engine {
namespace {

using test::IsOk;

class RestartProperty : public RestartFixture {};

TEST_F(RestartProperty, AlwaysRestoresEveryByte) {
  std::mt19937 random(20'261'122);
  const auto upto = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  std::vector<CodingSample> codings = AllCodings();
  codings.push_back({"plain", std::nullopt, false});
  for (const CodingSample& coding : codings) {
    SCOPED_TRACE(coding.name);
    ASSERT_THAT(BackUp({"a", "b", "c"}, coding), IsOk());
    for (int round = 0; round < 6; ++round) {
      int interruptions = 0;
      std::uint64_t restored = 0;
      Status status = Error(Code::kUnknown, "not begun");
      for (int attempt = 0; attempt < 3 && !status.ok(); ++attempt) {
        FailAtRead(attempt == 0 ? 30 + upto(40) : 1 + upto(70));
        status = RestoreTo({"a", "b", "c"}, attempt > 0);
        if (!status.ok()) {
          ASSERT_GE(RestoredBytes(), std::max<std::uint64_t>(restored, 1)) << status.ToString();
          restored = RestoredBytes();
        }
        interruptions += status.ok() ? 0 : 1;
      }
      devices_.fault = nullptr;
      if (!status.ok()) {
        ASSERT_THAT(RestoreTo({"a", "b", "c"}, true), IsOk());
      }
      ExpectRestored();
      ExpectNothingLeft();
      EXPECT_GT(interruptions, 0);
      writer_.restored.clear();
      ASSERT_THAT(engine_->Detach("copy"), IsOk());
    }
  }
}

}  // namespace
}  // namespace capstan::engine
