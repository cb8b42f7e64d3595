#include "server/coordinator/login_gate.h"

#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using namespace std::chrono_literals;
using test::HasCode;
using test::HasReason;
using test::IsOk;

class LoginGateTest : public testing::Test {
 protected:
  void SetUp() override {
    auto logins = LoginStore::Open(directory_.Under("logins"));
    auto log = engine::ErrorLog::Open(directory_.Under("ERRORLOG"));
    ASSERT_THAT(logins, IsOk());
    ASSERT_THAT(log, IsOk());
    logins_ = *std::move(logins);
    log_ = *std::move(log);
    ASSERT_THAT(logins_->Add("sa", "right"), IsOk());
  }

  std::string LogText() const {
    std::ifstream file(directory_.Under("ERRORLOG"));
    return {std::istreambuf_iterator<char>(file), {}};
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<LoginStore> logins_;
  std::unique_ptr<engine::ErrorLog> log_;
};

TEST_F(LoginGateTest, LetsEverybodyInWherePasswordsAreNotNeeded) {
  LoginGate gate(*logins_, *log_, {.needs_password = false});

  EXPECT_THAT(gate.Admit(Entrance::kPublic, "anybody", "anything"), IsOk());
  EXPECT_THAT(gate.Admit(Entrance::kPublic, "", std::nullopt), IsOk());
}

TEST_F(LoginGateTest, LetsTheOwnerInWithoutAPassword) {
  LoginGate gate(*logins_, *log_, {.needs_password = true});

  EXPECT_THAT(gate.Admit(Entrance::kOwner, "root", std::nullopt), IsOk());
}

TEST_F(LoginGateTest, AsksForTheRightPassword) {
  LoginGate gate(*logins_, *log_, {.needs_password = true, .failure_delay = 0ms});

  EXPECT_THAT(gate.Admit(Entrance::kPublic, "sa", "right"), IsOk());
  EXPECT_THAT(gate.Admit(Entrance::kPublic, "SA", "right"), IsOk());
  EXPECT_THAT(gate.Admit(Entrance::kPublic, "sa", "wrong"), HasReason(18456));
  EXPECT_THAT(gate.Admit(Entrance::kPublic, "sa", std::nullopt), HasReason(18456));
  EXPECT_THAT(gate.Admit(Entrance::kPublic, "", std::nullopt), HasReason(18456));
  const Status status = gate.Admit(Entrance::kPublic, "nobody", "right");
  EXPECT_EQ(status.message(), "Login failed for user 'nobody'.");
  EXPECT_THAT(status, HasCode(Code::kUnauthenticated));
}

TEST_F(LoginGateTest, TellsTheCauseToTheErrorLogAlone) {
  LoginGate gate(*logins_, *log_, {.needs_password = true, .failure_delay = 0ms});

  (void)gate.Admit(Entrance::kPublic, "sa", "hunter2");
  (void)gate.Admit(Entrance::kPublic, "evil\nname", "hunter2");

  const std::string text = LogText();
  EXPECT_NE(text.find("Logon     Error: 18456, Severity: 14, State: 8.\n"), std::string::npos);
  EXPECT_NE(text.find("Login failed for user 'sa'. Reason: Password did not match that for the "
                      "login provided. [CLIENT: <local machine>]\n"),
            std::string::npos);
  EXPECT_NE(text.find("State: 5.\n"), std::string::npos);
  EXPECT_NE(text.find("'evil?name'. Reason: Could not find a login"), std::string::npos);
  EXPECT_EQ(text.find("hunter2"), std::string::npos);
}

TEST_F(LoginGateTest, AWrongPasswordTakesItsTimeAndARightOneDoesNotWait) {
  LoginGate gate(*logins_, *log_, {.needs_password = true, .failure_delay = 300ms});
  ASSERT_THAT(gate.Admit(Entrance::kPublic, "sa", "right"), IsOk());
  const auto begin = std::chrono::steady_clock::now();

  std::atomic<int> answered{0};
  std::vector<std::jthread> guessers;
  for (int i = 0; i < 3; ++i) {
    guessers.emplace_back([&] {
      EXPECT_THAT(gate.Admit(Entrance::kPublic, "sa", "wrong"), HasReason(18456));
      ++answered;
    });
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(gate.Admit(Entrance::kPublic, "sa", "right"), IsOk());
  }
  const int answered_meanwhile = answered.load();
  guessers.clear();  // joins

  EXPECT_LT(answered_meanwhile, 3);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 900ms);  // one guess after the other
}

TEST_F(LoginGateTest, DoesNotLetTooManyWait) {
  LoginGate gate(
      *logins_, *log_,
      {.needs_password = true, .failure_delay = 300ms, .patience = 60s, .waiting_max = 0});

  std::vector<std::jthread> guessers;
  std::atomic<int> refused_at_once{0};
  for (int i = 0; i < 4; ++i) {
    guessers.emplace_back([&] {
      const Status status = gate.Admit(Entrance::kPublic, "sa", "wrong");
      refused_at_once += status.code() == Code::kUnavailable ? 1 : 0;
    });
  }
  guessers.clear();

  EXPECT_GE(refused_at_once.load(), 1);
  EXPECT_THAT(gate.Admit(Entrance::kPublic, "sa", "right"), IsOk());  // the turn is free again
}

}  // namespace
}  // namespace capstan::coordinator
