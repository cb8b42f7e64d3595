// LoginGate: who may run statements. Asks for a login and its password where the server is so
// configured, and makes guessing slow.
//
// Passwords that were not proved before are checked one at a time, and a wrong one keeps the turn
// for `failure_delay`: the server as a whole takes two guesses a second, however many connections
// try. Proved ones do not wait, so guessing does not hold up those who work. Threads: any.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "server/coordinator/login_store.h"
#include "server/engine/error_log.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

// By which socket a requester came.
enum class Entrance {
  kPublic,  // the socket of statements and agents
  kOwner,   // a socket that only the owner of the data directory, and root, can reach
};

class LoginGate {
 public:
  struct Options {
    bool needs_password = false;
    std::chrono::milliseconds failure_delay{500};
    std::chrono::seconds patience{5};  // a requester waits for its turn
    int waiting_max = 16;              // more are refused at once
  };

  // Borrows both.
  LoginGate(LoginStore& logins, engine::ErrorLog& error_log, Options options);

  // 18456, after having written the cause to the error log; or kUnavailable, if too many wait.
  Status Admit(Entrance entrance, std::string_view login,
               const std::optional<std::string>& password) CAPSTAN_EXCLUDES(mutex_);

 private:
  Status TakeTurn() CAPSTAN_EXCLUDES(mutex_);
  void GiveTurn() CAPSTAN_EXCLUDES(mutex_);
  // Keeps the turn for the delay.
  void Delay() CAPSTAN_EXCLUDES(mutex_);
  Status Refuse(std::string_view login, Verdict verdict);

  LoginStore& logins_;
  engine::ErrorLog& error_log_;
  const Options options_;

  Mutex mutex_;
  CondVar turn_free_;
  bool turn_taken_ CAPSTAN_GUARDED_BY(mutex_) = false;
  int waiting_ CAPSTAN_GUARDED_BY(mutex_) = 0;
};

}  // namespace capstan::coordinator
