// TapeFixture: an engine over devices whose media can be changed, with one database "sales".
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/catalog/catalog.h"
#include "server/engine/engine.h"
#include "tests/support/memory_tapes.h"
#include "tests/support/memory_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::engine {

class SilentObserver final : public JobObserver {
 public:
  void OnMessage(int, const std::string&) override {}
  void OnProgress(const JobSnapshot& snapshot) override {
    if (on_progress) {
      on_progress(snapshot);
    }
  }
  std::function<void(const JobSnapshot&)> on_progress;
};

class TapeFixture : public testing::Test {
 protected:
  static constexpr std::uint32_t kTransfer = 64 << 10;

  explicit TapeFixture(std::chrono::milliseconds device_timeout = std::chrono::seconds(20)) {
    auto catalog = catalog::Catalog::Open(directory_.path() + "/catalog.db");
    EXPECT_THAT(catalog, test::IsOk());
    catalog_ = std::move(catalog).value();
    auto log = ErrorLog::Open(directory_.path() + "/ERRORLOG");
    EXPECT_THAT(log, test::IsOk());
    error_log_ = std::move(log).value();
    Settings settings;
    settings.buffer_memory_limit = 64 << 20;
    settings.timeouts.device = device_timeout;
    settings.timeouts.open = std::chrono::seconds(20);
    engine_ = std::make_unique<Engine>(Engine::Parts{.catalog = *catalog_,
                                                     .jobs = jobs_,
                                                     .devices = devices_,
                                                     .error_log = *error_log_,
                                                     .writers = {{"memory", &writer_}},
                                                     .settings = settings});
    EXPECT_THAT(
        catalog_->AddDatabase({.name = "sales", .scheme = "memory", .location = "/db/sales"}),
        test::IsOk());
  }

  TransferRequest Transfer(std::vector<std::string> targets) const {
    TransferRequest transfer;
    transfer.device_class = "VIRTUAL_DEVICE";
    transfer.targets = std::move(targets);
    transfer.max_transfer_size = kTransfer;
    transfer.buffer_count = buffer_count_;
    transfer.block_size = block_size_;
    transfer.session_id = 51;
    transfer.statement = "test";
    return transfer;
  }
  Status Backup(std::vector<std::string> targets) {
    BackupRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "sales";
    request.media_use = MediaUse::kFormat;
    return engine_->Backup(request, observer_);
  }
  Status Restore(std::vector<std::string> targets, std::uint32_t transfer_size = kTransfer) {
    writer_.restored.clear();
    RestoreRequest request;
    request.transfer = Transfer(std::move(targets));
    request.transfer.max_transfer_size = transfer_size;
    request.database = "copy";
    request.moves = {{"sales", "/new"}};
    for (std::size_t i = 1; i < writer_.files.size(); ++i) {
      request.moves.emplace_back("sales" + std::to_string(i + 1), "/new" + std::to_string(i + 1));
    }
    request.replace = true;
    return engine_->Restore(request, observer_);
  }
  Status Verify(std::vector<std::string> targets) {
    return engine_->Verify({.transfer = Transfer(std::move(targets))}, observer_);
  }
  void ExpectRestored() {
    for (std::size_t i = 0; i < writer_.files.size(); ++i) {
      const std::string name = i == 0 ? "/new" : "/new" + std::to_string(i + 1);
      EXPECT_EQ(writer_.restored[name] == writer_.files[i], true) << name;
    }
  }
  // Every cartridge as large as the first argument says, with a zone at its end.
  void UseCapacity(std::size_t capacity, std::size_t zone) {
    devices_.Finish();
    devices_.capacity = [capacity](const std::string&, std::size_t) { return capacity; };
    devices_.options.zone = zone;
  }

  std::optional<std::uint32_t> buffer_count_;
  std::optional<std::uint32_t> block_size_;
  test::TemporaryDirectory directory_;
  test::MemoryTapes devices_{directory_.path() + "/vdi.sock"};
  test::MemoryWriter writer_;
  JobRegistry jobs_;
  SilentObserver observer_;
  std::unique_ptr<catalog::Catalog> catalog_;
  std::unique_ptr<ErrorLog> error_log_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace capstan::engine
