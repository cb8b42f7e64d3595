#include "server/engine/free_space.h"

#include <atomic>
#include <functional>

#include "server/messages/messages.h"
#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kMegabyte = 1 << 20;

// Knows of every medium only what is free.
class SpaceDevices final : public DeviceProvider {
 public:
  Result<ProvidedSet> Open(const DeviceSetRequest&, Deadline) override {
    return Error(Code::kUnimplemented, "nothing is opened here");
  }
  Status Recover(const std::string&, const DeviceTarget&, RecoverAction, Deadline) override {
    return OkStatus();
  }
  std::string ErrorDetail(const std::string&, const std::string&) override { return ""; }
  Result<MediumStat> Stat(const std::string&, const DeviceTarget& target, Deadline) override {
    ++asked;
    return answer(target.name);
  }

  std::function<Result<MediumStat>(const std::string&)> answer;
  int asked = 0;
};

class FreeSpaceTest : public testing::Test {
 protected:
  std::vector<std::string> Warnings(std::vector<std::string> targets, std::uint64_t estimate) {
    DeviceSetRequest request;
    request.device_class = "DISK";
    request.size_estimate = estimate;
    for (std::string& target : targets) {
      request.targets.push_back({.name = std::move(target), .token = ""});
    }
    RecordingObserver observer;
    WarnOfLowSpace(devices_, request, observer);
    return observer.Texts(65011);
  }
  void Free(std::uint64_t bytes) {
    devices_.answer = [bytes](const std::string&) { return MediumStat{.free_bytes = bytes}; };
  }

  SpaceDevices devices_;
};

TEST_F(FreeSpaceTest, WhatFitsIsNotMentioned) {
  Free(3 * kMegabyte);
  EXPECT_THAT(Warnings({"/a/1"}, 3 * kMegabyte), IsEmpty());
}

TEST_F(FreeSpaceTest, UnknownSpaceIsNotMentioned) {
  Free(UINT64_MAX);
  EXPECT_THAT(Warnings({"/a/1"}, 3 * kMegabyte), IsEmpty());
}

// What is needed is rounded up and what there is down: never "1 MB, where 1 MB are free".
TEST_F(FreeSpaceTest, WhatDoesNotFitIsSaidWithBothSizes) {
  Free(3 * kMegabyte - 1);
  EXPECT_THAT(Warnings({"/a/1"}, 2 * kMegabyte + 1), IsEmpty());
  EXPECT_THAT(Warnings({"/a/1"}, 3 * kMegabyte),
              ElementsAre("The backup is expected to take 3 MB on device '/a/1', where 2 MB are "
                          "free."));
}

TEST_F(FreeSpaceTest, TargetsInOneFolderShareIt) {
  Free(5 * kMegabyte);
  EXPECT_THAT(Warnings({"/a/1", "/a/2", "/b/1"}, 3 * kMegabyte),
              ElementsAre("The backup is expected to take 3 MB on device '/a/2', where 2 MB are "
                          "free."));
}

TEST_F(FreeSpaceTest, TargetThatCannotBeLookedUpIsLeftToItsOpening) {
  devices_.answer = [](const std::string& name) -> Result<MediumStat> {
    if (name == "/a/1") {
      return SqlError(3201, name, OsErrorText(EACCES)).WithOsError(EACCES);
    }
    return MediumStat{.free_bytes = 0};
  };
  EXPECT_EQ(Warnings({"/a/1", "/a/2"}, kMegabyte).size(), 1U);
}

TEST_F(FreeSpaceTest, WithoutAnAgentNobodyIsAskedTwice) {
  devices_.answer = [](const std::string&) -> Result<MediumStat> {
    return SqlError(65001, "DISK");
  };
  EXPECT_THAT(Warnings({"/a/1", "/a/2"}, kMegabyte), IsEmpty());
  EXPECT_EQ(devices_.asked, 1);
}

// S0-55
TEST_F(EngineFixture, BackupWarnsBeforeItWritesAndGoesOn) {
  writer_.files = {test::MemoryWriter::Pattern(2'000'000, 7)};
  devices_.free_bytes = 4096;
  std::atomic<bool> written_before{false};
  devices_.fault = [&](std::size_t, const vdi::ClientCommand& command) {
    if (command.code == vdi::CommandCode::kWrite && observer_.Texts(65011).empty()) {
      written_before = true;
    }
    return vdi::CompletionCode::kSuccess;
  };

  EXPECT_THAT(Backup({"a"}), test::IsOk());

  EXPECT_EQ(observer_.Texts(65011).size(), 1U);
  EXPECT_FALSE(written_before);
}

}  // namespace
}  // namespace capstan::engine
