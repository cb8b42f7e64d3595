// The engine's side of one client's connection: how either end of the set learns of the other's
// end.
//
// Shared by the rendezvous, whose thread reads from it, and the engine set, which sends on it and
// detaches when it closes; neither outlives the other for sure, hence shared ownership.
// Threads: any. Lock order: a link's lock comes before its set's lock.
#pragma once

#include <string>
#include <string_view>

#include <sys/types.h>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"
#include "vdi/control_message.h"

namespace capstan::vdi {

class ClientLink {
 public:
  // Who wants to hear from the client.
  class Listener {
   public:
    virtual ~Listener() = default;
    // The client is gone, has closed, aborted or talks rubbish. Called once at most.
    virtual void OnClientEnd(const Status& why) = 0;
    virtual std::string_view StateName() const = 0;
  };

  ClientLink(UniqueFd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  int fd() const { return socket_.get(); }
  pid_t pid() const { return pid_; }

  void Attach(Listener* listener);
  // On return no call of the listener runs any more.
  void Detach();
  bool detached() const;

  void DeliverEnd(const Status& why);
  std::string StateName() const;

  template <typename Message>
  Status Send(const Message& message, int passed_fd = -1) {
    return SendMessage(fd(), message, passed_fd);
  }
  // The client reads end-of-file after what was sent; so does our own reader.
  void Shutdown();

 private:
  const UniqueFd socket_;
  const pid_t pid_;

  mutable Mutex mutex_;
  Listener* listener_ CAPSTAN_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace capstan::vdi
