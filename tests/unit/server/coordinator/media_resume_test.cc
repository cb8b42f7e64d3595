// Media that are kept, and that are gone on with: who can, and what is ordered.
#include <cerrno>
#include <chrono>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "server/messages/messages.h"
#include "tests/unit/server/coordinator/media_devices_fixture.h"

namespace capstan::coordinator {
namespace {

using test::DiskHello;
using test::HasReason;
using test::IsOk;
using test::ScriptedLink;
using namespace std::chrono_literals;

TEST_F(MediaDevicesTest, AnAgentThatCannotResumeIsNotAskedTo) {
  Attach();
  engine::DeviceSetRequest request = Request();
  request.resume = true;

  const auto provided = devices_->Open(request, Deadline::After(10s));

  EXPECT_THAT(provided, HasReason(3201));
  EXPECT_EQ(provided.status().os_error(), EOPNOTSUPP);
  EXPECT_EQ(provided.status().hint(),
            "plugin 'disk' of agent 'disk' cannot go on with a backup that was interrupted; run "
            "the statement without RESTART");
  EXPECT_TRUE(link_->orders().empty());
  EXPECT_FALSE(devices_->Resumes("DISK", request.targets[0]));

  request.device_class = "VIRTUAL_DEVICE";
  const auto vendors = devices_->Open(request, Deadline::After(10s));
  EXPECT_THAT(vendors, HasReason(3201));
  EXPECT_EQ(vendors.status().os_error(), EOPNOTSUPP);
}

TEST_F(MediaDevicesTest, KeepAndResumeAreOrderedFromAnAgentThatCan) {
  AgentHello hello = DiskHello();
  hello.capabilities |= capability::kResume;
  Attach(hello);
  engine::DeviceSetRequest request = Request();
  request.keep = true;
  ASSERT_THAT(devices_->Open(request, Deadline::After(10s)), IsOk());
  request.keep = false;
  request.resume = true;
  ASSERT_THAT(devices_->Open(request, Deadline::After(10s)), IsOk());

  std::vector<OpenSetOrder> orders;
  for (const auto& [id, order] : link_->orders()) {
    if (const auto* open = std::get_if<OpenSetOrder>(&order)) {
      orders.push_back(*open);
    }
  }
  ASSERT_EQ(orders.size(), 2U);
  EXPECT_TRUE(orders[0].keep);
  EXPECT_FALSE(orders[0].resume);
  EXPECT_FALSE(orders[1].keep);
  EXPECT_TRUE(orders[1].resume);
}

// Not "the folder must exist": what is missing is what an earlier job has begun.
TEST_F(MediaDevicesTest, NothingToResumeIsToldInTheAgentsWords) {
  AgentHello hello = DiskHello();
  hello.capabilities |= capability::kResume;
  Attach(hello);
  answer_ = {.status = Error(Code::kNotFound, "nothing could be gone on with").WithOsError(ENOENT),
             .target = "/backup/a.bak"};
  engine::DeviceSetRequest request = Request();
  request.resume = true;

  const auto provided = devices_->Open(request, Deadline::After(10s));

  EXPECT_THAT(provided, HasReason(3201));
  EXPECT_EQ(provided.status().os_error(), ENOENT);
  EXPECT_EQ(provided.status().hint(), "nothing could be gone on with");
}

TEST_F(MediaDevicesTest, ResumesWhereTheAgentCanAlsoReadAndRecover) {
  const engine::DeviceTarget target{.name = "/backup/a.bak", .token = "J-1"};
  const engine::DeviceTarget object{.name = "s3://bucket/a", .token = "J-1"};
  EXPECT_FALSE(devices_->Resumes("DISK", target)) << "nobody is there";
  AgentHello s3 = DiskHello();
  s3.name = "s3";
  s3.device_class = "URL";
  s3.schemes = {"s3"};
  s3.capabilities |= capability::kResume;
  ASSERT_THAT(agents_.Attach(s3, std::make_shared<ScriptedLink>()), IsOk());
  AgentHello forgetful = s3;
  forgetful.name = "cas";
  forgetful.schemes = {"cas"};
  forgetful.capabilities &= ~capability::kRecover;
  ASSERT_THAT(agents_.Attach(forgetful, std::make_shared<ScriptedLink>()), IsOk());

  EXPECT_TRUE(devices_->Resumes("URL", object));
  EXPECT_FALSE(devices_->Resumes("URL", {.name = "cas://a", .token = "J-1"}));
  EXPECT_FALSE(devices_->Resumes("DISK", target));
  EXPECT_FALSE(devices_->Resumes("VIRTUAL_DEVICE", target));
}

}  // namespace
}  // namespace capstan::coordinator
