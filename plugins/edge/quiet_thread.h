// QuietThread: starts a thread as a plugin may have one, with all signals blocked: they are the
// agent's. The thread inherits the mask, so that there is no moment in which one could reach it.
#pragma once

#include <csignal>
#include <thread>
#include <utility>

namespace capstan::edge {

// As long as it lives its thread takes no signals, and threads that it starts never do.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

// std::system_error of std::jthread if there can be no more threads.
template <typename Body>
std::jthread QuietThread(Body body) {
  const SignalsBlocked blocked;
  return std::jthread(std::move(body));
}

}  // namespace capstan::edge
