#include <cerrno>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <scsi/sg.h>

#include "plugins/tape/scsi/iscsi_transport.h"
#include "plugins/tape/scsi/scsi_devices.h"
#include "plugins/tape/scsi/sg_transport.h"
#include "tests/unit/plugins/tape/scsi/scripted_calls.h"

namespace capstan::tape {
namespace {

using test::ScriptedCalls;
using test::ScriptedNode;
using testing::HasSubstr;
using testing::Not;

class SgTransportTest : public testing::Test {
 protected:
  ScsiResult Execute(std::function<int(sg_io_hdr*)> kernel) {
    node_.generic = std::move(kernel);
    return transport_.Execute({.block = ReadCommand(100),
                               .timeout = std::chrono::seconds(3),
                               .data_in = std::as_writable_bytes(std::span(buffer_))});
  }

  ScriptedNode node_;
  ScriptedCalls calls_{&node_};
  SgTransport transport_{&calls_, 7};
  std::array<std::uint8_t, 100> buffer_{};
};

TEST_F(SgTransportTest, HandsOverTheCommandAndWhatCameBack) {
  const ScsiResult result = Execute([](sg_io_hdr* header) {
    EXPECT_EQ(header->cmd_len, 6);
    EXPECT_EQ(header->cmdp[0], 0x08);
    EXPECT_EQ(header->timeout, 3'000U);
    EXPECT_EQ(header->dxfer_direction, SG_DXFER_FROM_DEV);
    std::memset(header->dxferp, 7, 60);
    header->resid = 40;
    return 0;
  });

  EXPECT_EQ(result.transport_error, "");
  EXPECT_EQ(result.status, ScsiStatus::kGood);
  EXPECT_EQ(result.received, 60U);
  EXPECT_EQ(buffer_[59], 7);
}

TEST_F(SgTransportTest, HandsOverSense) {
  const ScsiResult result = Execute([](sg_io_hdr* header) {
    header->status = 2;
    header->driver_status = 0x08;
    header->sbp[2] = 0x80;
    header->sb_len_wr = 18;
    return 0;
  });

  EXPECT_EQ(result.status, ScsiStatus::kCheckCondition);
  ASSERT_EQ(result.sense.size(), 18U);
  EXPECT_EQ(result.sense[2], 0x80);
}

TEST_F(SgTransportTest, ErrorsOnTheWayAreNoAnswers) {
  EXPECT_EQ(Execute([](sg_io_hdr*) { return -EPERM; }).os_error, EPERM);
  const ScsiResult result = Execute([](sg_io_hdr* header) {
    header->host_status = 3;  // timed out
    return 0;
  });
  EXPECT_THAT(result.transport_error, HasSubstr("0x3"));
}

TEST_F(SgTransportTest, ANodeThatIsNotThere) {
  node_.opens = {-ENOENT};
  std::unique_ptr<ScsiTransport> transport;
  const Failure failure =
      SgTransport::Open("/dev/sg9", std::make_unique<ScriptedCalls>(&node_), &transport);
  EXPECT_EQ(failure.os_error, ENOENT);
  EXPECT_THAT(failure.message, HasSubstr("/dev/sg9"));
}

TEST_F(SgTransportTest, ANodeOfItsOwnIsClosed) {
  std::unique_ptr<ScsiTransport> transport;
  ASSERT_FALSE(
      SgTransport::Open("/dev/sg0", std::make_unique<ScriptedCalls>(&node_), &transport).failed());
  transport.reset();
  EXPECT_EQ(node_.closed_count, 1);
}

TEST(IscsiTransport, NamesNeverShowTheSecret) {
  EXPECT_EQ(WithoutSecret("iscsi://me%secret@host:3260/iqn.x/1"), "iscsi://host:3260/iqn.x/1");
  EXPECT_EQ(WithoutSecret("iscsi://host/iqn.x/1"), "iscsi://host/iqn.x/1");
  EXPECT_EQ(WithoutSecret("/dev/nst0"), "/dev/nst0");
}

TEST(IscsiTransport, WhatIsNoAddressIsRefusedWithAdvice) {
  std::unique_ptr<TapeDrive> drive;
  const Failure failure = OpenScsiDrive("iscsi://me%secret@host", &drive);
  EXPECT_EQ(failure.os_error, EINVAL);
  EXPECT_THAT(failure.message, Not(HasSubstr("secret")));
  EXPECT_THAT(failure.hint, HasSubstr("target-iqn"));
}

TEST(IscsiTransport, APortWhereNobodyListensIsNamed) {
  std::unique_ptr<MediumChanger> changer;
  const Failure failure = OpenScsiChanger("iscsi://127.0.0.1:1/iqn.2024-01.test:x/1", &changer);
  EXPECT_EQ(failure.os_error, ECONNREFUSED);
  EXPECT_TRUE(failure.transient);
  EXPECT_THAT(failure.message, HasSubstr("127.0.0.1:1"));
}

TEST(ScsiDevices, NodesThatAreNotThereAreNamed) {
  std::unique_ptr<TapeDrive> drive;
  std::unique_ptr<MediumChanger> changer;
  EXPECT_EQ(OpenScsiDrive("/dev/nst-nowhere", &drive).os_error, ENOENT);
  EXPECT_EQ(OpenScsiDrive("/dev/sg-nowhere", &drive).os_error, ENOENT);
  EXPECT_EQ(OpenScsiChanger("/dev/sch-nowhere", &changer).os_error, ENOENT);
}

}  // namespace
}  // namespace capstan::tape
