#include "server/writers/database_writer.h"

namespace capstan::writers {

std::string_view WriterStateName(WriterState state) {
  switch (state) {
    case WriterState::kStable:
      return "Stable";
    case WriterState::kWaitingForFreeze:
      return "Waiting for freeze";
    case WriterState::kWaitingForThaw:
      return "Waiting for thaw";
    case WriterState::kWaitingForPostSnapshot:
      return "Waiting for post snapshot";
    case WriterState::kWaitingForBackupComplete:
      return "Waiting for completion";
    case WriterState::kFailed:
      return "Failed";
  }
  return "Unknown";
}

// What a writer without log and differential backups answers.

Result<RestoreOutcome> DatabaseWriter::Recover(const std::string& location,
                                               const RestoreOptions& /*options*/) {
  return Error(Code::kFailedPrecondition,
               "the {} writer leaves no database to be recovered later, so '{}' is none", scheme(),
               location);
}

Status DatabaseWriter::AbandonRestore(const std::string& /*location*/) {
  return OkStatus();
}

void DatabaseWriter::Keep(std::vector<KeptDatabase> /*databases*/) {}

Result<LogStatus> DatabaseWriter::DescribeLog(const std::string& /*location*/) {
  return LogStatus{};
}

Result<std::vector<DiscoveredDatabase>> DatabaseWriter::Discover(
    std::span<const std::string> /*folders*/) {
  return std::vector<DiscoveredDatabase>();
}

}  // namespace capstan::writers
