// Failure: how a plugin's own functions report; turned into a capstan_error at the C edge.
//
// The message says what happened to which medium, in the words of a server or a drive where it said
// any; the agent adds the text of `os_error`. The hint says what to do about it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "capstan/plugin.h"

namespace capstan::edge {

struct [[nodiscard]] Failure {
  int os_error = 0;        // errno, or 0
  std::string message;     // empty: no failure
  std::string hint = {};   // empty: that is plain
  bool transient = false;  // the same may go well later

  bool failed() const { return !message.empty(); }

  static Failure None() { return {}; }
  static Failure Of(int os_error, std::string message, std::string hint = {}) {
    return {.os_error = os_error, .message = std::move(message), .hint = std::move(hint)};
  }
  // "unable to <what> medium '<name>'"
  static Failure Unable(int os_error, const std::string& what, const std::string& name) {
    return Of(os_error, "unable to " + what + " medium '" + name + "'");
  }
  Failure MayPass() && {
    transient = true;
    return std::move(*this);
  }
  // "unable to <what>: <message of the failure>", all else kept.
  Failure Within(const std::string& what) const {
    Failure outer = *this;
    if (failed()) {
      outer.message = "unable to " + what + ": " + message;
    }
    return outer;
  }
};

// Texts are cut to what the struct holds, at a character boundary of UTF-8. Without a failure the
// struct is emptied.
void FillError(const Failure& failure, capstan_error* error) noexcept;

// CAPSTAN_E_* for a request of kind `op` (CAPSTAN_OP_*) that failed with `os_error`: what the errno
// says, else that of reading or writing.
std::uint32_t CompletionCodeOf(int os_error, std::int32_t op);

}  // namespace capstan::edge
