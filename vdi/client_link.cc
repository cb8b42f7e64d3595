#include "vdi/client_link.h"

#include <sys/socket.h>

namespace capstan::vdi {

void ClientLink::Attach(Listener* listener) {
  MutexLock lock(mutex_);
  listener_ = listener;
}

void ClientLink::Detach() {
  MutexLock lock(mutex_);
  listener_ = nullptr;
}

bool ClientLink::detached() const {
  MutexLock lock(mutex_);
  return listener_ == nullptr;
}

void ClientLink::DeliverEnd(const Status& why) {
  MutexLock lock(mutex_);
  if (listener_ != nullptr) {
    listener_->OnClientEnd(why);
  }
}

std::string ClientLink::StateName() const {
  MutexLock lock(mutex_);
  return listener_ != nullptr ? std::string(listener_->StateName()) : "Closed";
}

void ClientLink::Shutdown() {
  ::shutdown(fd(), SHUT_RDWR);
}

}  // namespace capstan::vdi
