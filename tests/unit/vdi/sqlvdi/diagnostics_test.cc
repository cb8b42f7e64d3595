// What the built library says about failures, and where it says nothing.
#include <fstream>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/child_process.h"
#include "tests/unit/vdi/sqlvdi/classic_pair.h"

namespace capstan::sqlvdi {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The one line of `text` that has `what` in it.
std::string LineWith(const std::string& text, const std::string& what) {
  const auto at = text.find(what);
  if (at == std::string::npos) {
    return "no line with '" + what + "' in: " + text;
  }
  const auto begin = text.rfind('\n', at);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, text.find('\n', at) - begin - 1);
}

TEST(Diagnostics, AreOffByDefault) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  {
    ClassicPair pair;
    VDConfig config{};
    EXPECT_EQ(Said(pair.set().GetConfiguration(0, &config)), "VD_E_PROTOCOL");
    pair.ToActive();
    EXPECT_EQ(Said(pair.set().Close()), "VD_E_OPEN");
  }
  EXPECT_THAT(testing::internal::GetCapturedStdout(), IsEmpty());
  // The engine's end, in this process, logs the abort; the client's says nothing.
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(HasSubstr("SQLVDI")));
}

TEST(Diagnostics, GoToStandardErrorAndNeverToStandardOutput) {
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", "1");
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  {
    ClassicPair pair;
    pair.ToActive();
    pair.CloseAllByServer();
    EXPECT_EQ(Said(pair.set().Close()), "NOERROR");
  }
  EXPECT_THAT(testing::internal::GetCapturedStdout(), IsEmpty());
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("Loc=ClientVirtualDeviceSet::Create. Desc=connected to the server"),
                    HasSubstr("Loc=ClientVirtualDeviceSet::GetConfiguration. Desc="),
                    HasSubstr("maxTransferSize=65536"),
                    HasSubstr("Loc=ClientVirtualDeviceSet::OpenDevice. Desc=the device is open"),
                    HasSubstr("ErrorCode=(0x8077000e VD_E_CLOSE)"),
                    HasSubstr("Loc=ClientVirtualDeviceSet::Close. Desc=the set is closed")));
}

TEST(Diagnostics, SayWhereTheyLookedForTheServer) {
  const test::TemporaryDirectory folder;
  const ScopedEnvironment where("CAPSTAN_VDI", folder.Under("nobody.sock"));
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", folder.Under("vdi.log"));
  ClientVirtualDeviceSet set;
  VDConfig wishes = ClassicPair::OneDevice();
  std::string name = "set";

  EXPECT_EQ(Said(set.Create(name.data(), &wishes)), "VD_E_INSTANCE_NAME");

  EXPECT_THAT(ContentOf(folder.Under("vdi.log")),
              AllOf(HasSubstr("SQLVDI: Loc=ClientVirtualDeviceSet::Create. Desc="),
                    HasSubstr(folder.Under("nobody.sock")),
                    HasSubstr("ErrorCode=(0x80770007 VD_E_INSTANCE_NAME)"), HasSubstr("VD=set."),
                    HasSubstr("Process=" + std::to_string(::getpid()) + "."),
                    HasSubstr("Next=start capstand, or set CAPSTAN_VDI")));
}

// In a child, because root may connect to everything and must become somebody else.
TEST(Diagnostics, SayThatTheUserMayNot) {
  const std::string outcome = test::RunInChild([]() -> std::string {
    constexpr uid_t kNobody = 65534;
    if (::geteuid() == 0 && (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) {
      return "unable to become nobody";
    }
    ClassicPair pair;
    const std::string log = pair.folder().Under("vdi.log");
    const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", log);
    ::chmod(pair.path().c_str(), 0);
    const int created = pair.set().Create(pair.name(0), &pair.wishes());
    const std::string said = ContentOf(log);
    if (created != VD_E_SECURITY) {
      return "Create gave " + Said(created);
    }
    return said.find("Next=join the group of the socket") == std::string::npos ? said : "";
  });

  EXPECT_EQ(outcome, "");
}

TEST(Diagnostics, SayWhoAbortedAndWhy) {
  const test::TemporaryDirectory folder;
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", folder.Under("vdi.log"));
  ClassicPair pair;
  pair.ToActive();
  pair.engine().SignalAbort(Error(Code::kCancelled, "the statement was cancelled by 'sa'"));
  VDC_Command* command = nullptr;

  EXPECT_EQ(Said(pair.device().GetCommand(-1, &command)), "VD_E_ABORT");

  EXPECT_THAT(LineWith(ContentOf(folder.Under("vdi.log")), "VD_E_ABORT"),
              AllOf(HasSubstr("Loc=ClientVirtualDevice::GetCommand."),
                    HasSubstr("the statement was cancelled by 'sa'"), HasSubstr("VD=set."),
                    HasSubstr("Next=call Close")));
}

TEST(Diagnostics, NameTheDeviceThatIsMissing) {
  const test::TemporaryDirectory folder;
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", folder.Under("vdi.log"));
  ClassicPair pair;
  pair.Create();
  pair.Configure();
  std::string name = "nobody";
  ClientVirtualDevice* device = nullptr;

  EXPECT_EQ(Said(pair.set().OpenDevice(name.data(), &device)), "VD_E_INVALID");

  EXPECT_THAT(LineWith(ContentOf(folder.Under("vdi.log")), "VD_E_INVALID"),
              AllOf(HasSubstr("'nobody'"), HasSubstr("VD=set.")));
}

TEST(Diagnostics, SayNothingAboutPolls) {
  const test::TemporaryDirectory folder;
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", folder.Under("vdi.log"));
  ClassicPair pair;
  pair.Create();
  VDConfig config{};

  EXPECT_EQ(Said(pair.set().GetConfiguration(0, &config)), "VD_E_TIMEOUT");
  pair.Configure();
  pair.OpenAll();
  VDC_Command* command = nullptr;
  EXPECT_EQ(Said(pair.device().GetCommand(0, &command)), "VD_E_TIMEOUT");

  EXPECT_THAT(ContentOf(folder.Under("vdi.log")), Not(HasSubstr("VD_E_TIMEOUT")));
}

TEST(Diagnostics, TellWhatAnOddCompletionCodeWasTakenFor) {
  const test::TemporaryDirectory folder;
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", folder.Under("vdi.log"));
  test::AwaitedCommand flush(vdi::CommandCode::kFlush);
  ClassicPair pair;
  pair.ToActive();
  test::Must(pair.engine_device().SendCommand(flush.get()));

  MustBeOk(pair.device().CompleteCommand(pair.Next(), -5, 0, 0), "CompleteCommand");
  flush.Await();

  EXPECT_THAT(ContentOf(folder.Under("vdi.log")), HasSubstr("completion code -5 is no Win32"));
}

TEST(Diagnostics, FallBackToStandardErrorWhenTheirFileCannotBe) {
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", "/nowhere/at/all/vdi.log");
  testing::internal::CaptureStderr();
  ClientVirtualDeviceSet set;

  EXPECT_EQ(Said(set.Close()), "VD_E_PROTOCOL");

  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("VD_E_PROTOCOL"));
}

TEST(Diagnostics, ComplainAboutAUnitThatIsNone) {
  const test::TemporaryDirectory folder;
  const ScopedEnvironment on("CAPSTAN_VDI_DIAGNOSTICS", folder.Under("vdi.log"));
  const ScopedEnvironment unit("CAPSTAN_VDI_TIMEOUT_UNIT", "hours");
  ClassicPair pair;

  pair.Create();

  EXPECT_THAT(ContentOf(folder.Under("vdi.log")), HasSubstr("'hours'"));
}

}  // namespace
}  // namespace capstan::sqlvdi
