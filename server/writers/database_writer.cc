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

}  // namespace capstan::writers
