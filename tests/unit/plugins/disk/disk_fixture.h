// The disk plugin on a directory of its own, for the tests of what is special about disks.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "agent/plugin_library.h"
#include "tests/support/media_request.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::test {

class DiskTest : public testing::Test {
 protected:
  agent::MediaPlugin& plugin() { return *plugin_; }

  Result<std::unique_ptr<agent::MediaDevice>> Open(capstan_open_mode mode,
                                                   const std::string& target,
                                                   const std::string& token = "t1") {
    return plugin_->Open({.mode = mode, .target = target, .token = token});
  }

  // A finished medium at `target` that holds buffer_, or why there is none.
  Status WriteMedium(const std::string& target, capstan_open_mode mode = CAPSTAN_OPEN_REPLACE,
                     const std::string& token = "t1") {
    CAPSTAN_ASSIGN_OR_RETURN(const auto device, Open(mode, target, token));
    if (WriteBytes(*device, 0, buffer_.bytes()) != 0 ||
        RunRequest(*device, CAPSTAN_OP_COMPLETE) != 0) {
      [[maybe_unused]] const Status ignored = device->Close(CAPSTAN_OUTCOME_DISCARD);
      return Error(Code::kUnknown, "medium '{}' was not written", target);
    }
    return device->Close(CAPSTAN_OUTCOME_DONE);
  }

  static std::string Contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string BufferText() const {
    return {reinterpret_cast<const char*>(buffer_.data()), buffer_.size()};
  }

  // Not EXPECT_EQ on the contents: 64 KiB of bytes are no message.
  bool HoldsBuffer(const std::string& path) const { return Contents(path) == BufferText(); }

  TemporaryDirectory directory_;
  const std::string target_ = directory_.Under("medium.bak");
  const std::string partial_ = directory_.Under(".medium.bak.t1.capstan-partial");
  MediaBuffer buffer_{65536, 5};
  std::unique_ptr<agent::MediaPlugin> plugin_ = agent::LoadPlugin(CAPSTAN_DISK_PLUGIN).value();
};

}  // namespace capstan::test
