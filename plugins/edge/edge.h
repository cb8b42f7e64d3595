// Edge: what stands between the C functions of capstan/plugin.h and a plugin's own C++. A failure
// becomes a capstan_error there, and nothing that the standard library threw gets past it.
//
// Threads: any, at the same time; a plugin has one constant of it.
#pragma once

#include <cerrno>
#include <cstdint>
#include <exception>
#include <new>

#include "capstan/plugin.h"
#include "plugins/edge/failure.h"

namespace capstan::edge {

struct Edge {
  const char* plugin;  // as sentences call it: "the <plugin> plugin is out of memory"
  // Whether the agent is to try again when there was no memory, or no thread.
  bool memory_may_come = false;
  bool resources_may_come = false;
  std::uint32_t open_flags = 0;  // CAPSTAN_OPEN_*, those that it knows

  // Runs `body`, which returns a Failure, for the result of a C function: 0, or -1 and *error.
  template <typename Body>
  int Run(capstan_error* error, Body body) const noexcept {
    try {
      const Failure failure = body();
      if (!failure.failed()) {
        return 0;
      }
      FillError(failure, error);
    } catch (const std::bad_alloc&) {
      FillExhausted(ENOMEM, error);
    } catch (const std::exception&) {  // a thread that cannot be started, for example
      FillExhausted(EAGAIN, error);
    }
    return -1;
  }

  // Whether the parameters of open() are of an agent that the plugin understands.
  Failure CheckOpen(const capstan_open_params& params) const;

 private:
  // Allocates nothing.
  void FillExhausted(int os_error, capstan_error* error) const noexcept;
};

}  // namespace capstan::edge
