// MediaDevices over a real rendezvous, with an agent that the test plays.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "server/coordinator/media_devices.h"
#include "tests/support/scripted_link.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/client_device_set.h"

namespace capstan::coordinator {

class MediaDevicesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto rendezvous = vdi::Rendezvous::Listen({.path = directory_.Under("vdi.sock")});
    ASSERT_THAT(rendezvous, test::IsOk());
    rendezvous_ = std::move(rendezvous).value();
    devices_ = std::make_unique<MediaDevices>(
        agents_, *rendezvous_,
        MediaDevices::Options{.virtual_device_wait = std::chrono::milliseconds(300),
                              .agent_wait = std::chrono::milliseconds(200),
                              .server_address = "unix:/run/capstand.sock",
                              .drive_map = DriveMap::Create({{"e:", "/srv/e"}}).value()});
  }

  void Attach(const AgentHello& hello = test::DiskHello()) {
    agent_ = *agents_.Attach(hello, link_);
    link_->OnOrder([this](std::uint64_t id, const Order& order) { CarryOut(id, order); });
  }

  // A well-behaved agent: creates the set that it is told to open.
  void CarryOut(std::uint64_t order_id, const Order& order) {
    OrderResult result = answer_;
    if (const auto* open = std::get_if<OpenSetOrder>(&order); open && result.status.ok()) {
      auto set = vdi::ClientDeviceSet::Create(
          rendezvous_->path(), open->set_name,
          {.device_count = static_cast<std::uint32_t>(open->devices.size())});
      result.status = set.status();
      if (set.ok()) {
        clients_[open->set_name] = std::move(set).value();
      }
    }
    if (const auto* close = std::get_if<CloseSetOrder>(&order)) {
      clients_.erase(close->set_name);
      result = {};
    }
    agents_.OnResult(agent_, order_id, result);
  }

  engine::DeviceSetRequest Request(engine::OpenMode mode = engine::OpenMode::kCreate) const {
    return {.device_class = "DISK",
            .mode = mode,
            .targets = {{.name = "/backup/a.bak", .token = "J-1"}},
            .size_estimate = 1 << 20,
            .job_id = 51,
            .cancelled = {}};
  }

  test::TemporaryDirectory directory_;
  AgentDirectory agents_{{.lease = std::chrono::seconds(60)}};
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
  std::unique_ptr<MediaDevices> devices_;
  std::shared_ptr<test::ScriptedLink> link_ = std::make_shared<test::ScriptedLink>();
  AgentId agent_ = 0;
  OrderResult answer_;
  std::map<std::string, std::unique_ptr<vdi::ClientDeviceSet>> clients_;
};

}  // namespace capstan::coordinator
