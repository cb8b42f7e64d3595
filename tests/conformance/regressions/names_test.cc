// Reports of users whose virtual device failed because of its name: left over from a dead program,
// alike to another one, or with signs in it that some system forbids.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/device_session.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/victim_process.h"
#include "vdi/rendezvous.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

class Names : public testing::Test {
 protected:
  Status RunSession(const std::string& name) {
    Status client_status;
    std::jthread client([&] { client_status = RunClient(path(), name, Ending::kClose); });
    const auto set = rendezvous_->Open(name, Patience());
    if (!set.ok()) {
      return set.status();
    }
    Status ran = EngineSession(**set, Ending::kClose).Run();
    client.join();
    Status closed = (*set)->Close();
    return !ran.ok() ? ran : client_status.ok() ? closed : client_status;
  }
  const std::string& path() const { return rendezvous_->path(); }

  test::TemporaryDirectory folder_;
  const std::unique_ptr<Rendezvous> rendezvous_ =
      Must(Rendezvous::Listen({.path = folder_.Under("s")}));
};

// KB4039511 (managed backup): "ErrorCode 183, file already exists", now and then.
TEST_F(Names, OfADeadClientAreFreeAtOnce) {
  for (int round = 0; round < 20; ++round) {
    {
      VictimProcess client({"client", path(), "again", "close"}, "");
      const Deadline created = Patience();
      while (rendezvous_->List().empty() && !created.passed()) {
        std::this_thread::yield();
      }
      client.Signal(SIGKILL);
      client.AwaitEnd();
    }
    const auto next = ClientDeviceSet::Create(path(), "again", SessionWishes());
    ASSERT_THAT(next, IsOk()) << "round " << round;
  }
}

// The same report: names of tools that differ in a digit, a blank or a letter's case.
TEST_F(Names, ThatAreAlikeAreDifferentSets) {
  const std::vector<std::string> names = {"set",  "set ",  "set1", "set11",      "set12",
                                          "Set",  "SET",   "se",   "set/",       "set.1",
                                          " set", "set 1", "sét",  "se\xCC\x81t"};
  std::vector<std::unique_ptr<ClientDeviceSet>> clients;
  for (std::size_t i = 0; i < names.size(); ++i) {
    clients.push_back(Must(ClientDeviceSet::Create(
        path(), names[i], {.device_count = static_cast<std::uint32_t>(i + 1)})));
  }
  EXPECT_EQ(rendezvous_->List().size(), names.size());

  for (std::size_t i = names.size(); i-- > 0;) {
    const auto set = Must(rendezvous_->Open(names[i], Deadline::Now()));
    EXPECT_EQ(set->name(), names[i]);
    EXPECT_EQ(set->GetConfiguration().device_count, i + 1) << "another client's set";
    set->SignalAbort(Error(Code::kAborted, "enough"));
    EXPECT_THAT(clients[i]->GetConfiguration(Patience()), HasCode(Code::kAborted));
  }
}

// And at the same time, each with its own commands.
TEST_F(Names, ThatAreAlikeWorkSideBySide) {
  std::vector<std::jthread> sessions;
  for (const std::string name : {"job", "job1", "job2", "Job", "job "}) {
    sessions.emplace_back([this, name] { EXPECT_THAT(RunSession(name), IsOk()) << name; });
  }
}

// Names are GUIDs with and without braces, paths, and what people type. On Windows only the
// backslash is forbidden, while a name in /dev/shm could have no slash.
TEST_F(Names, MayHoldWhatPeopleTypeThere) {
  for (const std::string& name :
       {std::string("{3F2504E0-4F89-11D3-9A0C-0305E82C3301}"),
        std::string("3f2504e0-4f89-11d3-9a0c-0305e82c3301"), std::string("/srv/backup/full"),
        std::string("../../etc/passwd"), std::string("with blanks in it "), std::string("."),
        std::string("it's \"quoted\""), std::string("Sicherung M\xC3\xA4rz \xE2\x9C\x93"),
        std::string(kSetNameSizeMax, 'n')}) {
    EXPECT_THAT(RunSession(name), IsOk()) << name;
  }
}

TEST_F(Names, ThatAreTooLongOrUnspeakableAreRefusedInWords) {
  const auto create = [&](const std::string& name) {
    return ClientDeviceSet::Create(path(), name, SessionWishes());
  };

  const auto too_long = create(std::string(kSetNameSizeMax + 1, 'n'));
  EXPECT_THAT(too_long, HasCode(Code::kInvalidArgument));
  EXPECT_THAT(too_long, MessageHas("129 bytes; 128 are allowed"));
  EXPECT_THAT(create(""), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(create("back\\slash"), MessageHas("backslash"));
  EXPECT_THAT(create("two\nlines"), HasCode(Code::kInvalidArgument));
  EXPECT_TRUE(rendezvous_->List().empty());
}

}  // namespace
}  // namespace capstan::vdi
