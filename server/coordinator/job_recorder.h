// JobRecorder: writes down what becomes of one job, between the job and whoever asked for it.
//
// The record is there from the first moment, follows the job now and then, and is final and durable
// when Finish returns. That a record cannot be written is logged and harms no job.
//
// Threads: the job's.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/catalog/catalog.h"
#include "server/engine/job.h"

namespace capstan::coordinator {

class JobRecorder final : public engine::JobObserver {
 public:
  // Writes the record of a job that begins now. Catalog and observer must outlive the recorder.
  JobRecorder(catalog::Catalog& catalog, engine::JobObserver& observer, catalog::JobHistory job);

  // The job is over.
  void Finish(const Status& status);

  void OnMessage(int number, const std::string& text) override;
  void OnProgress(const engine::JobSnapshot& snapshot) override;

 private:
  void Write();

  catalog::Catalog& catalog_;
  engine::JobObserver& observer_;
  catalog::JobHistory job_;
  std::optional<std::int64_t> instance_id_;  // nullopt if the record could not be begun
  std::chrono::steady_clock::time_point written_;
};

// Which part of the server an error of a job is from.
std::string_view SourceOfError(int number);

}  // namespace capstan::coordinator
