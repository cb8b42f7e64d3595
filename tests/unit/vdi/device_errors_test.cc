// IO-ERROR and ClearError: the VDI specification's error handling, step by step.
#include <future>

#include "tests/support/status_matchers.h"
#include "tests/unit/vdi/device_io.h"

namespace capstan::vdi {
namespace {

using test::AwaitedCommand;
using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::Must;
using test::Patience;

using DeviceErrors = DeviceIo;

TEST_F(DeviceErrors, AFailureRefusesWhatWasQueuedUntilClearError) {
  AwaitedCommand first(CommandCode::kWrite, Buffer(), 512);
  AwaitedCommand delivered(CommandCode::kWrite, Buffer(), 512);
  AwaitedCommand queued(CommandCode::kWrite, Buffer(), 512);
  Must(engine().SendCommand(first.get()));
  Must(engine().SendCommand(delivered.get()));
  const ClientCommand one = Get();
  const ClientCommand two = Get();
  Must(engine().SendCommand(queued.get()));

  Complete(one, CompletionCode::kDiskFull, 100);
  EXPECT_EQ(first.Await().bytes_transferred, 100U);
  AwaitedCommand refused(CommandCode::kWrite, Buffer(), 512);
  EXPECT_THAT(engine().SendCommand(refused.get()), HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(engine().SendCommand(refused.get()), MessageHas("IO-ERROR"));
  Complete(two, CompletionCode::kSuccess, 512);
  EXPECT_EQ(delivered.Await().completion_code, CompletionCode::kSuccess);
  EXPECT_THAT(client().GetCommand(Deadline::Now()), HasCode(Code::kDeadlineExceeded))
      << "the client never sees what was queued";
  EXPECT_EQ(queued.Await().completion_code, CompletionCode::kIoDevice);
  EXPECT_EQ(queued.Await().bytes_transferred, 0U);

  AwaitedCommand still(CommandCode::kClearError);
  Must(engine().SendCommand(still.get()));
  Complete(Get(), CompletionCode::kNotReady);
  still.Await();
  EXPECT_THAT(engine().SendCommand(refused.get()), HasCode(Code::kFailedPrecondition));

  AwaitedCommand cleared(CommandCode::kClearError);
  Must(engine().SendCommand(cleared.get()));
  Complete(Get());
  cleared.Await();

  EXPECT_THAT(engine().SendCommand(refused.get()), IsOk());
  Complete(Get(), CompletionCode::kSuccess, 512);
  refused.Await();
}

// VDI specification, "error handling", step by step: ClearError may be sent at once, and waits
// until what was delivered before it has ended.
TEST_F(DeviceErrors, ClearErrorIsHeldBackUntilAllThatWasDeliveredIsCompleted) {
  AwaitedCommand failing(CommandCode::kWrite, Buffer(), 512);
  AwaitedCommand delivered(CommandCode::kWrite, Buffer(), 512);
  AwaitedCommand queued(CommandCode::kWrite, Buffer(), 512);
  Must(engine().SendCommand(failing.get()));
  Must(engine().SendCommand(delivered.get()));
  Must(engine().SendCommand(queued.get()));
  const ClientCommand one = Get();
  const ClientCommand two = Get();
  Complete(one, CompletionCode::kDiskFull);
  failing.Await();

  AwaitedCommand clear(CommandCode::kClearError);
  ASSERT_THAT(engine().SendCommand(clear.get()), IsOk()) << "while another is outstanding";
  AwaitedCommand second(CommandCode::kClearError);
  EXPECT_THAT(engine().SendCommand(second.get()), HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(client().GetCommand(Deadline::Now()), HasCode(Code::kDeadlineExceeded));
  EXPECT_EQ(queued.Await().completion_code, CompletionCode::kIoDevice);
  EXPECT_THAT(client().GetCommand(Deadline::After(std::chrono::milliseconds(5))),
              HasCode(Code::kDeadlineExceeded));
  Complete(two, CompletionCode::kSuccess, 512);
  EXPECT_EQ(delivered.Await().completion_code, CompletionCode::kSuccess);

  const ClientCommand order = Get();
  EXPECT_EQ(order.code, CommandCode::kClearError);
  AwaitedCommand early(CommandCode::kWrite, Buffer(), 512);
  EXPECT_THAT(engine().SendCommand(early.get()), MessageHas("IO-ERROR"));
  Complete(order);
  EXPECT_EQ(clear.Await().completion_code, CompletionCode::kSuccess);
  EXPECT_THAT(engine().SendCommand(early.get()), IsOk());
  Complete(Get(), CompletionCode::kSuccess, 512);
  early.Await();
}

TEST_F(DeviceErrors, TheLastCompletionWakesAGetCommandThatHoldsClearErrorBack) {
  AwaitedCommand failing(CommandCode::kWrite, Buffer(), 512);
  AwaitedCommand slow(CommandCode::kWrite, Buffer(), 512);
  Must(engine().SendCommand(failing.get()));
  Must(engine().SendCommand(slow.get()));
  const ClientCommand one = Get();
  const ClientCommand two = Get();
  Complete(one, CompletionCode::kWriteFault);
  failing.Await();
  AwaitedCommand clear(CommandCode::kClearError);
  Must(engine().SendCommand(clear.get()));
  auto got = std::async(std::launch::async, [&] { return Get(); });
  EXPECT_EQ(got.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);

  Complete(two, CompletionCode::kSuccess, 512);

  const ClientCommand order = got.get();
  EXPECT_EQ(order.code, CommandCode::kClearError);
  Complete(order);
  clear.Await();
}

TEST_F(DeviceErrors, ASecondFailureAndAFailingClearErrorKeepTheDeviceInIoError) {
  AwaitedCommand first(CommandCode::kWrite, Buffer(), 512);
  AwaitedCommand second(CommandCode::kWrite, Buffer(), 512);
  Must(engine().SendCommand(first.get()));
  Must(engine().SendCommand(second.get()));
  const ClientCommand one = Get();
  const ClientCommand two = Get();
  Complete(one, CompletionCode::kDiskFull);
  first.Await();
  AwaitedCommand failing(CommandCode::kClearError);
  Must(engine().SendCommand(failing.get()));
  Complete(two, CompletionCode::kWriteFault);
  EXPECT_EQ(second.Await().completion_code, CompletionCode::kWriteFault);

  Complete(Get(), CompletionCode::kNotReady);
  EXPECT_EQ(failing.Await().completion_code, CompletionCode::kNotReady);
  AwaitedCommand refused(CommandCode::kFlush);
  EXPECT_THAT(engine().SendCommand(refused.get()), HasCode(Code::kFailedPrecondition));
  AwaitedCommand clear(CommandCode::kClearError);
  Must(engine().SendCommand(clear.get()));
  Complete(Get());
  clear.Await();

  AwaitedCommand flush(CommandCode::kFlush);
  EXPECT_THAT(engine().SendCommand(flush.get()), IsOk());
  Complete(Get());
  flush.Await();
}

TEST_F(DeviceErrors, AnAbortEndsAHeldClearError) {
  AwaitedCommand failing(CommandCode::kWrite, Buffer(), 512);
  AwaitedCommand slow(CommandCode::kWrite, Buffer(), 512);
  Must(engine().SendCommand(failing.get()));
  Must(engine().SendCommand(slow.get()));
  const ClientCommand one = Get();
  Get();
  Complete(one, CompletionCode::kWriteFault);
  failing.Await();
  AwaitedCommand clear(CommandCode::kClearError);
  Must(engine().SendCommand(clear.get()));
  auto got = std::async(std::launch::async, [&] { return client().GetCommand(Patience()); });

  pair_.engine().SignalAbort(Error(Code::kCancelled, "stop"));

  EXPECT_THAT(got.get(), HasCode(Code::kAborted));
  EXPECT_EQ(clear.Await().completion_code, CompletionCode::kOperationAborted);
  EXPECT_EQ(slow.Await().completion_code, CompletionCode::kOperationAborted);
}

TEST_F(DeviceErrors, ADeviceInIoErrorCanBeClosed) {
  AwaitedCommand read(CommandCode::kRead, Buffer(), 512);
  Must(engine().SendCommand(read.get()));
  Complete(Get(), CompletionCode::kHandleEof);
  read.Await();

  ASSERT_THAT(engine().CloseDevice(), IsOk());

  EXPECT_FALSE(Must(client().GetCommand(Patience())).has_value());
}

}  // namespace
}  // namespace capstan::vdi
