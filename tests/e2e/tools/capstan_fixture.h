// Capstan: the fixture of tests that run the built `capstan` against a scripted server.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/e2e/tools/capstan_process.h"
#include "tests/support/scripted_requester.h"
#include "tests/support/temporary_directory.h"

namespace capstan::test {

class Capstan : public testing::Test {
 protected:
  std::string socket() const { return directory_.Under("capstand.sock"); }

  ProcessResult Run(std::vector<std::string> arguments, ProcessOptions options = {}) {
    options.environment.emplace_back("CAPSTAN_SERVER", "unix:" + socket());
    return RunCapstan(std::move(arguments), std::move(options));
  }

  // The batch that `arguments` send.
  std::string BatchOf(const std::vector<std::string>& arguments) {
    server_->Answer("", {});
    const ProcessResult result = Run(arguments);
    EXPECT_EQ(result.exit_status, 0) << result.error;
    return server_->OnlyBatch();
  }

  TemporaryDirectory directory_;
  std::unique_ptr<ScriptedRequester> server_ =
      std::make_unique<ScriptedRequester>("unix:" + socket());
};

}  // namespace capstan::test
