// What becomes of a drive whose target stops or dies. Run by tests/support/tape_target/library.py,
// which starts the target. With CAPSTAN_TAPE_IDLE_S also what becomes of one that waits as long;
// the target lets go of who does not answer for twenty.
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "plugins/tape/scsi/iscsi_transport.h"
#include "plugins/tape/scsi/scsi_devices.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;
using tape::ScsiCommand;
using tape::ScsiResult;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class Connection : public testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("TAPE_TARGET_PID") == nullptr) {
      GTEST_SKIP() << "run me with tests/support/tape_target/library.py";
    }
    ::signal(SIGPIPE, SIG_IGN);
    target_pid_ = static_cast<pid_t>(std::stol(std::getenv("TAPE_TARGET_PID")));
    drive_url_ = std::getenv("TAPE_DRIVE");
  }
  void TearDown() override {
    if (target_pid_ > 0) {
      ::kill(target_pid_, SIGCONT);
    }
  }

  pid_t target_pid_ = 0;
  std::string drive_url_;
};

TEST_F(Connection, WrongTargetsAreRefusedAtLogin) {
  std::unique_ptr<tape::TapeDrive> drive;
  const std::string wrong =
      drive_url_.substr(0, drive_url_.rfind("iqn.")) + "iqn.2024-01.test:no/1";
  const tape::Failure failure = tape::OpenScsiDrive(wrong, &drive);

  EXPECT_EQ(failure.os_error, EACCES);
  EXPECT_THAT(failure.message, HasSubstr("unable to log in to"));
  EXPECT_FALSE(failure.transient);
}

TEST_F(Connection, UnitsThatAreNotThereAreNamed) {
  std::unique_ptr<tape::TapeDrive> drive;
  const tape::Failure failure =
      tape::OpenScsiDrive(drive_url_.substr(0, drive_url_.rfind('/')) + "/77", &drive);
  EXPECT_TRUE(failure.failed());
  EXPECT_THAT(failure.message, HasSubstr("/77"));
}

TEST_F(Connection, ACommandIsGivenUpInTimeAndEveryLaterOneAtOnce) {
  std::unique_ptr<tape::ScsiTransport> transport;
  ASSERT_FALSE(tape::IscsiTransport::Connect(drive_url_, &transport).failed());
  const ScsiCommand command{.block = tape::TestUnitReadyCommand(), .timeout = 300ms};
  EXPECT_EQ(transport->Execute(command).transport_error, "");

  ::kill(target_pid_, SIGSTOP);
  const Clock::time_point begin = Clock::now();
  const ScsiResult late = transport->Execute(command);
  EXPECT_EQ(late.os_error, ETIMEDOUT);
  EXPECT_THAT(late.transport_error, HasSubstr("no answer"));
  ::kill(target_pid_, SIGCONT);
  EXPECT_EQ(transport->Execute(command).os_error, ETIMEDOUT);
  EXPECT_GE(Clock::now() - begin, 300ms);
  EXPECT_LT(Clock::now() - begin, 10s);
}

TEST_F(Connection, ADriveThatWaitsAnswersPings) {
  const char* const idle_s = std::getenv("CAPSTAN_TAPE_IDLE_S");
  if (idle_s == nullptr) {
    GTEST_SKIP() << "CAPSTAN_TAPE_IDLE_S says how long";
  }
  std::unique_ptr<tape::TapeDrive> drive;
  ASSERT_FALSE(tape::OpenScsiDrive(drive_url_, &drive).failed());
  std::this_thread::sleep_for(std::chrono::seconds(std::stol(idle_s)));
  EXPECT_NE(drive->TestReady().outcome, tape::Outcome::kTransportError);
}

// The last one: nothing answers behind it.
TEST_F(Connection, ZDeathOfTheTargetIsAnErrorThatMayPass) {
  std::unique_ptr<tape::TapeDrive> drive;
  const tape::Failure opened = tape::OpenScsiDrive(drive_url_, &drive);
  ASSERT_FALSE(opened.failed()) << opened.message;

  ::kill(target_pid_, SIGKILL);
  const tape::Answer answer = drive->Rewind();
  EXPECT_EQ(answer.outcome, tape::Outcome::kTransportError);
  EXPECT_TRUE(answer.failure.transient);
  EXPECT_THAT(answer.failure.message, HasSubstr("unable to rewind"));
  EXPECT_EQ(drive->Rewind().outcome, tape::Outcome::kTransportError);
  drive.reset();
  EXPECT_TRUE(tape::OpenScsiDrive(drive_url_, &drive).transient);
}

}  // namespace
}  // namespace capstan::test
