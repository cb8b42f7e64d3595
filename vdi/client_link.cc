#include "vdi/client_link.h"

#include <sys/socket.h>

namespace capstan::vdi {

void ClientLink::Attach(Listener* listener, std::uint32_t member) {
  MutexLock lock(mutex_);
  listener_ = listener;
  member_ = member;
}

void ClientLink::Detach() {
  MutexLock lock(mutex_);
  listener_ = nullptr;
}

bool ClientLink::detached() const {
  MutexLock lock(mutex_);
  return listener_ == nullptr;
}

void ClientLink::DeliverEnd(Ending ending, const Status& why) {
  MutexLock lock(mutex_);
  if (listener_ != nullptr) {
    listener_->OnClientEnd(member_, ending, why);
  }
}

Status ClientLink::DeliverJoin(const std::shared_ptr<ClientLink>& newcomer) {
  MutexLock lock(mutex_);
  if (listener_ == nullptr) {
    return Error(Code::kFailedPrecondition, "the engine has closed the device set");
  }
  return listener_->OnJoin(newcomer);
}

std::string ClientLink::StateName() const {
  MutexLock lock(mutex_);
  return listener_ != nullptr ? std::string(listener_->StateName()) : "Closed";
}

void ClientLink::Shutdown() {
  ::shutdown(fd(), SHUT_RDWR);
}

}  // namespace capstan::vdi
