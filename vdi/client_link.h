// The engine's side of one process's connection: how either end of the set learns of the other's
// end. The process that created the set has one, and so has each that joined it later.
//
// Shared by the rendezvous, whose thread reads from it, and the engine set, which sends on it and
// detaches when it closes; neither outlives the other for sure, hence shared ownership.
// Threads: any. Lock order: the creator's link, then another link, then the set's lock.
#pragma once

#include <cstdint>
#include <memory>
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
  enum class Ending {
    kLeft,    // it closed in good order, or died
    kAborts,  // it aborted the set, or broke the protocol
  };
  // Who wants to hear from the client.
  class Listener {
   public:
    virtual ~Listener() = default;
    // `member` as in Attach. Called once at most per link.
    virtual void OnClientEnd(std::uint32_t member, Ending ending, const Status& why) = 0;
    // Another process wants to be part of the set. OK: it was told so, and its link is attached.
    virtual Status OnJoin(const std::shared_ptr<ClientLink>& newcomer) = 0;
    virtual std::string_view StateName() const = 0;
  };

  ClientLink(UniqueFd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  int fd() const { return socket_.get(); }
  pid_t pid() const { return pid_; }

  void Attach(Listener* listener, std::uint32_t member);
  // On return no call of the listener runs any more.
  void Detach();
  bool detached() const;

  void DeliverEnd(Ending ending, const Status& why);
  // kFailedPrecondition: the set is closed. Otherwise the listener's answer.
  Status DeliverJoin(const std::shared_ptr<ClientLink>& newcomer);
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
  std::uint32_t member_ CAPSTAN_GUARDED_BY(mutex_) = 0;
};

}  // namespace capstan::vdi
