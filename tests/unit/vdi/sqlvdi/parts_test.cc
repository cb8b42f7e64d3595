// The parts of the library that are functions of their arguments.
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "vdi/sqlvdi/command_blocks.h"
#include "vdi/sqlvdi/diagnostics.h"
#include "vdi/sqlvdi/error_codes.h"
#include "vdi/sqlvdi/include/vdicompletion.h"
#include "vdi/sqlvdi/settings.h"
#include "vdi/sqlvdi/timeouts.h"

namespace capstan::sqlvdi {
namespace {

struct TimeoutRow {
  std::time_t timeout;
  TimeoutUnit unit;
  std::int64_t command_ms;
  std::int64_t configuration_ms;
};

TEST(Timeouts, MeanWhatTheTableSays) {
  using enum TimeoutUnit;
  constexpr std::time_t kMax = std::numeric_limits<std::time_t>::max();
  constexpr std::int64_t kCentury = 100LL * 365 * 24 * 3600;
  const TimeoutRow rows[] = {
      {0, kAsDocumented, 0, 0},
      {1, kAsDocumented, 1000, 1000},
      {60, kAsDocumented, 60'000, 60'000},
      {90, kAsDocumented, 90'000, 90'000},
      {999, kAsDocumented, 999'000, 999'000},
      {1000, kAsDocumented, 1'000'000, 1000},
      {10'000, kAsDocumented, 10'000'000, 10'000},
      {-1, kAsDocumented, kForeverMs, kForeverMs},
      {-5, kAsDocumented, kForeverMs, kForeverMs},
      {0xFFFFFFFF, kAsDocumented, kForeverMs, kForeverMs},
      {kCentury, kAsDocumented, kForeverMs, kCentury},
      {kMax, kAsDocumented, kForeverMs, kForeverMs},
      {0, kSeconds, 0, 0},
      {10'000, kSeconds, 10'000'000, 10'000'000},
      {0xFFFFFFFF, kSeconds, kForeverMs, kForeverMs},
      {kMax, kSeconds, kForeverMs, kForeverMs},
      {0, kMilliseconds, 0, 0},
      {90, kMilliseconds, 90, 90},
      {10'000, kMilliseconds, 10'000, 10'000},
      {-1, kMilliseconds, kForeverMs, kForeverMs},
      {0xFFFFFFFF, kMilliseconds, kForeverMs, kForeverMs},
  };
  for (const TimeoutRow& row : rows) {
    EXPECT_EQ(CommandTimeoutMs(row.timeout, row.unit), row.command_ms) << row.timeout;
    EXPECT_EQ(ConfigurationTimeoutMs(row.timeout, row.unit), row.configuration_ms) << row.timeout;
  }
}

TEST(Timeouts, BecomeDeadlines) {
  EXPECT_TRUE(DeadlineAfterMs(kForeverMs).never());
  EXPECT_TRUE(DeadlineAfterMs(0).passed());
  const Deadline hour = DeadlineAfterMs(3'600'000);
  EXPECT_GT(hour.remaining(), std::chrono::minutes(59));
  EXPECT_LE(hour.remaining(), std::chrono::minutes(60));
}

TEST(Timeouts, HaveTwoUnits) {
  EXPECT_EQ(ParseTimeoutUnit("s"), TimeoutUnit::kSeconds);
  EXPECT_EQ(ParseTimeoutUnit("ms"), TimeoutUnit::kMilliseconds);
  EXPECT_EQ(ParseTimeoutUnit("min"), std::nullopt);
  EXPECT_EQ(ParseTimeoutUnit(""), std::nullopt);
}

TEST(ErrorCodes, EveryCodeHasItsClassicValue) {
  const std::map<Code, int> table = {
      {Code::kCancelled, VD_E_ABORT},
      {Code::kUnknown, VD_E_UNEXPECTED},
      {Code::kInvalidArgument, VD_E_INVALID},
      {Code::kDeadlineExceeded, VD_E_TIMEOUT},
      {Code::kNotFound, VD_E_PROTOCOL},
      {Code::kAlreadyExists, VD_E_OPEN},
      {Code::kPermissionDenied, VD_E_SECURITY},
      {Code::kResourceExhausted, VD_E_MEMORY},
      {Code::kFailedPrecondition, VD_E_PROTOCOL},
      {Code::kAborted, VD_E_ABORT},
      {Code::kOutOfRange, VD_E_INVALID},
      {Code::kUnimplemented, VD_E_NOTSUPPORTED},
      {Code::kInternal, VD_E_UNEXPECTED},
      {Code::kUnavailable, VD_E_BUSY},
      {Code::kDataLoss, VD_E_UNEXPECTED},
  };
  EXPECT_EQ(table.size(), 15U) << "all but OK";
  for (const auto& [code, vd_error] : table) {
    EXPECT_EQ(VdErrorOf(Status(code, "why")), vd_error) << CodeName(code);
  }
  EXPECT_EQ(VdErrorOf(OkStatus()), NOERROR);
}

TEST(ErrorCodes, NobodyListeningIsNoInstance) {
  for (const int os_error : {ENOENT, ECONNREFUSED, ENOTDIR, EPROTOTYPE}) {
    EXPECT_EQ(VdErrorOf(Error(Code::kUnavailable, "no").WithOsError(os_error)), VD_E_INSTANCE_NAME);
  }
  EXPECT_EQ(VdErrorOf(Error(Code::kUnavailable, "full").WithOsError(EAGAIN)), VD_E_BUSY);
}

TEST(ErrorCodes, HaveNamesAndNextSteps) {
  std::set<std::string_view> names;
  for (const int vd_error : {VD_E_NOTOPEN, VD_E_TIMEOUT, VD_E_ABORT, VD_E_SECURITY, VD_E_INVALID,
                             VD_E_INSTANCE_NAME, VD_E_NOTSUPPORTED, VD_E_MEMORY, VD_E_UNEXPECTED,
                             VD_E_PROTOCOL, VD_E_OPEN, VD_E_CLOSE, VD_E_BUSY}) {
    EXPECT_LT(vd_error, 0);
    EXPECT_FALSE(NextStep(vd_error).empty()) << VdErrorName(vd_error);
    names.insert(VdErrorName(vd_error));
  }
  EXPECT_EQ(names.size(), 13U);
  EXPECT_EQ(VdErrorName(VD_E_ABORT), "VD_E_ABORT");
  EXPECT_EQ(VdErrorName(77), "VD_E_?");
  EXPECT_EQ(NextStep(77), "");
}

TEST(ErrorCodes, CompletionCodesAreWin32Numbers) {
  const auto taken = [](int code) { return static_cast<int>(CompletionCodeOf(code)); };
  EXPECT_EQ(taken(ERROR_SUCCESS), 0);
  EXPECT_EQ(taken(ERROR_DISK_FULL), 112);
  EXPECT_EQ(taken(ERROR_EOM_OVERFLOW), 1129);
  EXPECT_EQ(taken(65535), 65535);
  EXPECT_EQ(taken(65536), ERROR_IO_DEVICE);
  EXPECT_EQ(taken(-5), ERROR_IO_DEVICE);
  EXPECT_EQ(taken(static_cast<int>(0x80070070)), 112) << "HRESULT_FROM_WIN32(112)";
  EXPECT_EQ(taken(static_cast<int>(0x80070000)), ERROR_IO_DEVICE) << "a failure stays one";
  EXPECT_EQ(taken(VD_E_ABORT), ERROR_OPERATION_ABORTED);
  EXPECT_EQ(taken(VD_E_UNEXPECTED), ERROR_IO_DEVICE);
}

Settings SettingsOf(const std::map<std::string, std::string>& environment) {
  return Settings::From([&environment](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(SettingsOfTheLibrary, HaveDefaults) {
  const Settings settings = SettingsOf({});

  EXPECT_EQ(settings.rendezvous_path, "/run/capstan/vdi.sock");
  EXPECT_EQ(settings.timeout_unit, TimeoutUnit::kAsDocumented);
  EXPECT_EQ(settings.diagnostics, Settings::Diagnostics::kOff);
  EXPECT_EQ(settings.complaint, "");
}

TEST(SettingsOfTheLibrary, TakeAPathInEveryCommonSpelling) {
  EXPECT_EQ(SettingsOf({{"CAPSTAN_VDI", "/a/b"}}).rendezvous_path, "/a/b");
  EXPECT_EQ(SettingsOf({{"CAPSTAN_VDI", "unix:/a/b"}}).rendezvous_path, "/a/b");
  EXPECT_EQ(SettingsOf({{"CAPSTAN_VDI", "unix:///a/b"}}).rendezvous_path, "/a/b");
  EXPECT_EQ(SettingsOf({{"CAPSTAN_VDI", ""}}).rendezvous_path, kDefaultRendezvousPath);
  EXPECT_EQ(SettingsOf({{"CAPSTAN_VDI", "unix:"}}).rendezvous_path, kDefaultRendezvousPath);
}

TEST(SettingsOfTheLibrary, SendDiagnosticsToStandardErrorOrAFile) {
  using Diagnostics = Settings::Diagnostics;
  const auto target = [](const char* value) {
    return SettingsOf({{"CAPSTAN_VDI_DIAGNOSTICS", value}}).diagnostics;
  };
  EXPECT_EQ(target("1"), Diagnostics::kStandardError);
  EXPECT_EQ(target("0"), Diagnostics::kOff);
  EXPECT_EQ(target(""), Diagnostics::kOff);
  EXPECT_EQ(target("/tmp/log"), Diagnostics::kFile);
  EXPECT_EQ(SettingsOf({{"CAPSTAN_VDI_DIAGNOSTICS", "/tmp/log"}}).diagnostics_file, "/tmp/log");
}

TEST(SettingsOfTheLibrary, ComplainAboutAUnitThatIsNone) {
  const Settings settings = SettingsOf({{"CAPSTAN_VDI_TIMEOUT_UNIT", "min"}});

  EXPECT_EQ(settings.timeout_unit, TimeoutUnit::kAsDocumented);
  EXPECT_NE(settings.complaint.find("'min'"), std::string::npos);
}

TEST(DiagnosticLine, SaysCallCauseCodeAndNextStep) {
  const Event event{.location = "ClientVirtualDeviceSet::Create",
                    .description = "nobody listens",
                    .vd_error = VD_E_INSTANCE_NAME,
                    .device = "a",
                    .next_step = "start it"};

  EXPECT_EQ(FormatEvent(event, 12, 34),
            "SQLVDI: Loc=ClientVirtualDeviceSet::Create. Desc=nobody listens. "
            "ErrorCode=(0x80770007 VD_E_INSTANCE_NAME). Process=12. Thread=34. Client. VD=a. "
            "Next=start it.\n");
}

TEST(DiagnosticLine, IsOneLineWhateverItIsTold) {
  const std::string line = FormatEvent({.location = "x",
                                        .description = "a\nSQLVDI: forged",
                                        .vd_error = 0,
                                        .device = "b\r\nc",
                                        .next_step = {}},
                                       1, 2);

  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_EQ(line.find('\r'), std::string::npos);
}

TEST(CommandBlocks, AreReusedOnlyAfterTheOthersAndNeverWhileOutstanding) {
  CommandBlocks blocks;
  VDC_Command* const outstanding = blocks.Take({.id = 7, .code = vdi::CommandCode::kFlush});
  VDC_Command* const completed = blocks.Take({.id = 8, .code = vdi::CommandCode::kFlush});
  blocks.Release(completed);
  std::size_t between = 0;

  for (std::uint64_t id = 9; between < 4 * CommandBlocks::kCount; ++id, ++between) {
    VDC_Command* const block = blocks.Take({.id = id, .code = vdi::CommandCode::kRead});
    ASSERT_NE(block, nullptr);
    ASSERT_NE(block, outstanding);
    EXPECT_EQ(blocks.IdOf(block), id);
    blocks.Release(block);
    EXPECT_EQ(blocks.IdOf(block), 0U);
    if (block == completed) {
      break;
    }
  }

  EXPECT_EQ(between, CommandBlocks::kCount - 2);
  EXPECT_EQ(blocks.IdOf(outstanding), 7U);
  EXPECT_EQ(outstanding->commandCode, VDC_Flush);
}

TEST(CommandBlocks, RunOutWhenAllAreOutstanding) {
  CommandBlocks blocks;
  for (std::uint64_t id = 1; id <= CommandBlocks::kCount; ++id) {
    ASSERT_NE(blocks.Take({.id = id}), nullptr);
  }

  EXPECT_EQ(blocks.Take({.id = 1000}), nullptr);
}

}  // namespace
}  // namespace capstan::sqlvdi
