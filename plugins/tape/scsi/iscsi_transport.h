// IscsiTransport: commands to a logical unit of an iSCSI target, by libiscsi.
//
// A connection that breaks, or a command that is not answered in time, ends the transport: what
// became of the command is unknown, and with it where a tape stands. Whoever wants to go on opens
// anew.
//
// Threads: as ScsiTransport. Its own one (keeper_) answers the target's pings while nothing is
// asked; otherwise targets drop a drive that waits for its next cartridge.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "plugins/tape/failure.h"
#include "plugins/tape/scsi/scsi_transport.h"

struct iscsi_context;

namespace capstan::tape {

class IscsiTransport final : public ScsiTransport {
 public:
  // `url` is iscsi://[user%password@]host[:port]/target-iqn/lun.
  static Failure Connect(const std::string& url, std::unique_ptr<ScsiTransport>* transport);

  ~IscsiTransport() override;
  IscsiTransport(const IscsiTransport&) = delete;
  IscsiTransport& operator=(const IscsiTransport&) = delete;

  ScsiResult Execute(const ScsiCommand& command) override;
  std::string mode() const override { return "iSCSI"; }

 private:
  struct Exchange;

  IscsiTransport();
  Failure Login(const std::string& url);
  // Serves the connection until the exchange is over; false: it broke, or the time is up.
  bool Await(const Exchange& exchange, std::chrono::milliseconds timeout);
  int Wait(
      std::chrono::milliseconds timeout);  // poll(); serves what is due. -1: the connection broke
  int ServeInput();
  void Break(std::string why, int os_error);  // ends the context, and all later commands
  void Keep(const std::stop_token& stop);
  bool ServeWhatIsDue();  // false: the connection broke

  std::mutex mutex_;
  std::condition_variable_any wake_;
  iscsi_context* context_ = nullptr;  // guarded by mutex_; null once broken
  std::string broken_;                // guarded by mutex_; why
  int broken_error_ = 0;              // guarded by mutex_
  int unit_ = 0;
  int gate_[2] = {-1, -1};                      // a pair of sockets, see ServeInput
  int wire_ = -1;                               // the connection once more, see there
  const std::unique_ptr<Exchange> connection_;  // libiscsi may call it again when that ends
  std::jthread keeper_;                         // last: it uses everything above
};

// The URL as messages may show it: without user and password.
std::string WithoutSecret(const std::string& url);

}  // namespace capstan::tape
