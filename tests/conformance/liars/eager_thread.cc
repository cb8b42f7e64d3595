// Starts a thread as soon as it is loaded, whether anybody wants something of it or not.
#include <csignal>
#include <thread>

#include <unistd.h>

#include "tests/conformance/liars/honest_device.h"

namespace {

const bool started = [] {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([] {
    for (;;) {
      ::pause();
    }
  }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return true;
}();

}  // namespace

LIAR(capstan::test::HonestDevice)
