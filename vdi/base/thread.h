// StartThread: a thread, or an error where the system has none left. std::jthread throws there
// (limits of processes, of memory, of a container), and a job must fail then, not the process.
//
// For threads that a job needs. Those that a process starts once and cannot do without may throw.
#pragma once

#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "vdi/base/status.h"

namespace capstan {

// kResourceExhausted with the system's error; `purpose` is for the message: "the reader of x".
template <typename Work>
Result<std::jthread> StartThread(std::string_view purpose, Work&& work) {
  try {
    return std::jthread(std::forward<Work>(work));
  } catch (const std::system_error& failure) {
    return Error(Code::kResourceExhausted, "unable to start a thread for {}: {}", purpose,
                 failure.code().message())
        .WithOsError(failure.code().value())
        .WithHint("raise the limit of processes and threads (ulimit -u, pids.max), or of memory");
  }
}

}  // namespace capstan
