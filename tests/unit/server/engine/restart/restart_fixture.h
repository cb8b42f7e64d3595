// RestartFixture: an EngineFixture whose restores make a checkpoint as often as they can, and whose
// devices can be made to fail in the middle of one.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/server/engine/coded_fixture.h"

namespace capstan::engine {

class RestartFixture : public CodedFixture {
 protected:
  void SetUp() override {
    checkpoint_interval_ = std::chrono::milliseconds(1);
    checkpoint_bytes_ = 1;
    writer_.resumable = true;
    writer_.files = {test::MemoryWriter::Pattern(4'000'000, 7),
                     test::MemoryWriter::Pattern(1'300'000, 8)};
    CodedFixture::SetUp();
  }

  RestoreRequest Request(std::vector<std::string> targets, bool restart) {
    RestoreRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "copy";
    request.moves = {{"sales", "/new"}, {"sales2", "/new2"}};
    request.restart = restart;
    return request;
  }
  Status RestoreTo(std::vector<std::string> targets, bool restart = false) {
    reads_ = 0;
    return engine_->Restore(Request(std::move(targets), restart), observer_);
  }

  std::optional<catalog::JobRecord> Unfinished() {
    const auto jobs = catalog_->UnfinishedJobs();
    EXPECT_THAT(jobs, test::IsOk());
    return jobs.ok() && !jobs->empty() ? std::optional(jobs->back()) : std::nullopt;
  }
  std::uint64_t RestoredBytes() {
    const auto job = Unfinished();
    return job && job->progress ? job->progress->done_bytes : 0;
  }

  // What happens at the n-th read of the devices together, once more than `bytes` are in
  // checkpoints.
  void AtRead(int n, std::uint64_t bytes, std::function<vdi::CompletionCode()> what) {
    devices_.fault = [this, n, bytes, what = std::move(what)](std::size_t,
                                                              const vdi::ClientCommand& command) {
      if (command.code != vdi::CommandCode::kRead || ++reads_ < n) {
        return vdi::CompletionCode::kSuccess;
      }
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (RestoredBytes() <= bytes && std::chrono::steady_clock::now() < limit) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));  // polls, bounded by `limit`
      }
      return what();
    };
  }
  void FailAtRead(int n, std::uint64_t bytes = 0) {
    AtRead(n, bytes, [] { return vdi::CompletionCode::kReadFault; });
  }
  void CountReads() {
    devices_.fault = [this](std::size_t, const vdi::ClientCommand& command) {
      reads_ += command.code == vdi::CommandCode::kRead ? 1 : 0;
      return vdi::CompletionCode::kSuccess;
    };
  }
  // A restore from `targets` that is interrupted somewhere in the middle.
  Status Interrupt(std::vector<std::string> targets, bool restart = false) {
    FailAtRead(60, 2'000'000);
    const Status failed = RestoreTo(std::move(targets), restart);
    CountReads();
    return failed;
  }
  void ExpectNothingLeft() {
    EXPECT_EQ(UnfinishedCount(), 0U);
    EXPECT_TRUE(writer_.unfinished.empty());
  }

  std::atomic<int> reads_{0};
};

}  // namespace capstan::engine
