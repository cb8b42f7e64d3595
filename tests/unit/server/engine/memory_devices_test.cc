// The memory devices of the engine's tests append as OpenMode::kAppend says, over a set that takes
// both reads and writes.
#include "tests/support/memory_devices.h"

#include <cerrno>
#include <cstring>

#include <gmock/gmock.h>

#include "server/engine/open_set.h"
#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using vdi::CommandCode;
using vdi::CompletionCode;
using Bytes = test::MemoryDevices::Bytes;

constexpr std::uint32_t kBlock = 65536;

class MemoryDevicesTest : public EngineFixture {
 protected:
  void SetUp() override {
    EngineFixture::SetUp();
    devices_.Put("a", old_);
  }

  Result<std::unique_ptr<OpenSet>> Append(const std::string& token, const std::string& name = "a") {
    DeviceSetRequest request;
    request.mode = OpenMode::kAppend;
    request.targets = {{.name = name, .token = token}};
    return Open(std::move(request));
  }
  Result<std::unique_ptr<OpenSet>> Open(DeviceSetRequest request) {
    request.device_class = "DISK";
    OpenSetOptions options;
    CAPSTAN_ASSIGN_OR_RETURN(options.plan, PlanBuffers({.buffer_count = 2,
                                                        .max_transfer_size = kBlock,
                                                        .devices = 1,
                                                        .volumes = 1,
                                                        .memory_limit = 64 << 20}));
    options.error_log = error_log_.get();
    return OpenSet::Open(devices_, request, options);
  }

  // The command's outcome; what it reads is in the first buffer.
  static vdi::ServerCommand Run(OpenSet& set, CommandCode code, std::int64_t position = 0,
                                std::uint32_t size = 0) {
    TransferBuffer* buffer = set.pool().Take();
    if (code == CommandCode::kWrite) {
      std::memset(buffer->data.data(), 2, buffer->data.size());
    }
    vdi::ServerCommand command;
    command.code = code;
    command.size = size;
    command.position = position;
    command.buffer = size == 0 ? nullptr : buffer->data.data();
    const auto done = set.device(0).Execute(command);
    EXPECT_THAT(done, IsOk());
    if (code == CommandCode::kRead) {
      EXPECT_EQ(buffer->data[0], position == 0 ? std::byte{1} : std::byte{2});
    }
    set.pool().Return(buffer);
    return done.ok() ? *done : command;
  }
  // An append of one block that is not complete yet.
  std::unique_ptr<OpenSet> Begin(const std::string& token) {
    auto set = Append(token);
    EXPECT_THAT(set, IsOk());
    EXPECT_EQ(Run(**set, CommandCode::kWrite, kBlock, kBlock).completion_code,
              CompletionCode::kSuccess);
    return std::move(set).value();
  }
  // A new medium of three blocks that nobody completed.
  void Leave(const DeviceSetRequest& request) {
    auto set = Open(request);
    ASSERT_THAT(set, IsOk());
    for (const std::int64_t block : {0, 1, 2}) {
      EXPECT_EQ(Run(**set, CommandCode::kWrite, block * kBlock, kBlock).completion_code,
                CompletionCode::kSuccess);
    }
  }
  static DeviceSetRequest New(const std::string& token) {
    DeviceSetRequest request;
    request.mode = OpenMode::kCreate;
    request.targets = {{.name = "new", .token = token}};
    request.keep = true;
    return request;
  }
  static DeviceSetRequest Resuming(const std::string& token) {
    DeviceSetRequest request = New(token);
    request.resume = true;
    return request;
  }
  Status Recover(const std::string& token, RecoverAction action) {
    return devices_.Recover("DISK", {.name = "a", .token = token}, action, Deadline::Never());
  }

  const Bytes old_ = Bytes(kBlock, std::byte{1});
};

TEST_F(MemoryDevicesTest, AppendReadsWhatIsThereAndWritesBehindIt) {
  const auto set = Begin("t1");

  EXPECT_EQ(Run(*set, CommandCode::kRead, 0, kBlock).completion_code, CompletionCode::kSuccess);
  EXPECT_EQ(Run(*set, CommandCode::kRead, kBlock, kBlock).completion_code,
            CompletionCode::kSuccess);
  EXPECT_EQ(*devices_.medium("a"), old_);
  EXPECT_EQ(Run(*set, CommandCode::kComplete).completion_code, CompletionCode::kSuccess);
  EXPECT_THAT(set->Close(), IsOk());

  ASSERT_EQ(devices_.medium("a")->size(), 2 * kBlock);
  EXPECT_EQ(devices_.partial_count(), 0U);
}

TEST_F(MemoryDevicesTest, AppendChangesNothingBelowTheEnd) {
  auto set = Append("t1");
  ASSERT_THAT(set, IsOk());

  EXPECT_EQ(Run(**set, CommandCode::kWrite, 0, kBlock).completion_code,
            CompletionCode::kWriteFault);
}

TEST_F(MemoryDevicesTest, MissingMediumIsNotAppendedTo) {
  const auto set = Append("t1", "none");

  EXPECT_THAT(set, HasReason(3201));
  EXPECT_EQ(set.status().os_error(), ENOENT);
}

TEST_F(MemoryDevicesTest, UnsettledAppendTakesNoOther) {
  Begin("t1").reset();

  EXPECT_EQ(Append("t2").status().os_error(), EBUSY);
  EXPECT_EQ(*devices_.medium("a"), old_);
  EXPECT_THAT(Recover("t1", RecoverAction::kCommit), IsOk());
  EXPECT_EQ(devices_.medium("a")->size(), 2 * kBlock);
  EXPECT_THAT(Append("t2"), IsOk());
}

TEST_F(MemoryDevicesTest, DiscardUndoesAnAppendAlsoAfterComplete) {
  Begin("t1").reset();
  EXPECT_THAT(Recover("t1", RecoverAction::kDiscard), IsOk());
  EXPECT_EQ(*devices_.medium("a"), old_);

  const auto set = Begin("t2");
  EXPECT_EQ(Run(*set, CommandCode::kComplete).completion_code, CompletionCode::kSuccess);
  EXPECT_THAT(set->Close(), IsOk());
  EXPECT_THAT(Recover("t2", RecoverAction::kDiscard), IsOk());
  EXPECT_THAT(Recover("t2", RecoverAction::kDiscard), IsOk());
  EXPECT_EQ(*devices_.medium("a"), old_);
}

TEST_F(MemoryDevicesTest, StatTellsTheCommittedSize) {
  const auto set = Begin("t1");

  const auto stat = devices_.Stat("DISK", {.name = "a", .token = ""}, Deadline::Never());

  ASSERT_THAT(stat, IsOk());
  EXPECT_TRUE(stat->exists);
  EXPECT_EQ(stat->size_bytes, kBlock);
}

TEST_F(MemoryDevicesTest, WhatWasKeptIsGoneOnWithAndEndsWithItsHighestWrite) {
  Leave(New("t1"));
  EXPECT_EQ(devices_.partial("new")->size(), 3 * kBlock);

  auto set = Open(Resuming("t1"));
  ASSERT_THAT(set, IsOk());
  EXPECT_EQ(Run(**set, CommandCode::kRead, 2 * kBlock, kBlock).completion_code,
            CompletionCode::kSuccess);
  EXPECT_EQ(Run(**set, CommandCode::kWrite, kBlock, kBlock).completion_code,
            CompletionCode::kSuccess);
  EXPECT_EQ(Run(**set, CommandCode::kFlush).completion_code, CompletionCode::kSuccess);
  EXPECT_EQ(Run(**set, CommandCode::kRead, 2 * kBlock, kBlock).completion_code,
            CompletionCode::kSuccess);
  EXPECT_EQ(Run(**set, CommandCode::kComplete).completion_code, CompletionCode::kSuccess);
  EXPECT_THAT((*set)->Close(), IsOk());

  ASSERT_NE(devices_.medium("new"), nullptr);
  EXPECT_EQ(devices_.medium("new")->size(), 2 * kBlock);
  EXPECT_EQ(devices_.partial_count(), 0U);
}

TEST_F(MemoryDevicesTest, RecoverEndsWhatWasGoneOnWithAtItsFlush) {
  Leave(New("t1"));
  {
    auto set = Open(Resuming("t1"));
    ASSERT_THAT(set, IsOk());
    Run(**set, CommandCode::kWrite, 0, kBlock);
    Run(**set, CommandCode::kFlush);
  }

  EXPECT_THAT(devices_.Recover("DISK", Resuming("t1").targets[0], RecoverAction::kCommit,
                               Deadline::Never()),
              IsOk());

  EXPECT_EQ(devices_.medium("new")->size(), kBlock);
}

TEST_F(MemoryDevicesTest, OnlyWhatWasKeptIsGoneOnWith) {
  DeviceSetRequest unkept = New("t1");
  unkept.keep = false;
  Leave(unkept);
  EXPECT_EQ(Open(Resuming("t1")).status().os_error(), ENOENT);
  EXPECT_EQ(Open(Resuming("none")).status().os_error(), ENOENT);
  Begin("t2").reset();
  DeviceSetRequest appended = Resuming("t2");
  appended.targets[0].name = "a";
  EXPECT_EQ(Open(appended).status().os_error(), ENOENT);

  Leave(New("t3"));
  devices_.Put("new", old_);
  EXPECT_EQ(Open(Resuming("t3")).status().os_error(), EEXIST);
}

// Whatever the order said.
TEST_F(MemoryDevicesTest, WhatAnAgentLeftThatDiedIsGoneOnWith) {
  DeviceSetRequest unkept = New("t1");
  unkept.keep = false;
  auto set = Open(unkept);
  ASSERT_THAT(set, IsOk());
  devices_.AbortLastClient();
  set->reset();

  EXPECT_THAT(Open(Resuming("t1")), IsOk());
}

TEST_F(MemoryDevicesTest, SayWhatTheTestSaysOfResuming) {
  EXPECT_FALSE(devices_.Resumes("DISK", {.name = "a", .token = "t"}));
  devices_.resumes = true;
  EXPECT_TRUE(devices_.Resumes("DISK", {.name = "a", .token = "t"}));
}

}  // namespace
}  // namespace capstan::engine
