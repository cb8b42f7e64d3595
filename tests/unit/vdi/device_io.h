// DeviceIo: a set of one device like a disk, both ends open, for tests of commands.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/device_set_pair.h"

namespace capstan::vdi {

class DeviceIo : public testing::Test {
 protected:
  void SetUp() override {
    pair_.Configure();
    pair_.OpenAll();
  }
  ServerDevice& engine() { return pair_.engine_device(); }
  ClientDevice& client() { return pair_.client_device(); }

  ClientCommand Get() {
    const auto command = test::Must(client().GetCommand(test::Patience()));
    CAPSTAN_CHECK(command.has_value());
    return *command;
  }
  void Complete(const ClientCommand& command, CompletionCode code = CompletionCode::kSuccess,
                std::uint32_t bytes = 0, std::int64_t position = 0) {
    test::Must(client().CompleteCommand(command.id, code, bytes, position));
  }
  std::byte* Buffer() { return test::Must(pair_.engine().AllocateBuffer(65536, 0)); }

  test::DeviceSetPair pair_{{.features = feature::kLikeDisk | feature::kRequestComplete,
                             .prefix_zone_size = 64,
                             .added_features = feature::kCompleteEnabled}};
};

}  // namespace capstan::vdi
