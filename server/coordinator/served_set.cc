#include "server/coordinator/served_set.h"

#include <chrono>
#include <utility>

namespace capstan::coordinator {
namespace {

// How long the media of an aborted set get to close. A device that hangs longer is left to its
// agent: the job has failed anyway, and recovery finds the medium later.
constexpr std::chrono::seconds kMediaCloseWait{5};

}  // namespace

Result<std::unique_ptr<vdi::ServerDeviceSet>> ServedSet::Create(
    AgentDirectory& agents, AgentId agent, std::unique_ptr<vdi::ServerDeviceSet> set) {
  std::unique_ptr<ServedSet> served(new ServedSet(agents, agent, std::move(set)));
  CAPSTAN_ASSIGN_OR_RETURN(
      served->watch_,
      agents.WatchSet(agent, served->name(), [inner = served->set_.get()](const Status& why) {
        inner->SignalAbort(why);
      }));
  return std::unique_ptr<vdi::ServerDeviceSet>(std::move(served));
}

ServedSet::~ServedSet() {
  [[maybe_unused]] const Status closed = Close();  // nobody is left to tell
}

Status ServedSet::Close() {
  if (watch_ == nullptr) {
    return set_->Close();
  }
  const std::string set_name = name();
  const bool aborted = !set_->abort_reason().ok();
  Status closed = set_->Close();
  if (aborted || !closed.ok()) {
    [[maybe_unused]] const OrderResult told = agents_.Execute(
        agent_, CloseSetOrder{set_name}, {.deadline = Deadline::After(kMediaCloseWait)});
  }
  watch_.reset();
  return closed;
}

}  // namespace capstan::coordinator
