// Failure: how the plugin's own functions report; turned into a capstan_error at the C edge.
//
// The message says what happened to which medium; the agent adds the text of `os_error`.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "capstan/plugin.h"

namespace capstan::disk {

struct [[nodiscard]] Failure {
  int os_error = 0;
  std::string message;  // empty: no failure

  bool failed() const { return !message.empty(); }

  static Failure None() { return {}; }
  static Failure Of(int os_error, std::string message) { return {os_error, std::move(message)}; }
  // "unable to <what> medium '<path>'"
  static Failure Unable(int os_error, const char* what, const std::string& path);
};

// Cut to what the struct holds, at a character boundary of UTF-8.
void FillError(const Failure& failure, capstan_error* error);

// Win32 numbers as VDI lists them.
inline constexpr std::uint32_t kCompletedWell = 0;
inline constexpr std::uint32_t kAccessDenied = 5;
inline constexpr std::uint32_t kWriteFault = 29;
inline constexpr std::uint32_t kReadFault = 30;
inline constexpr std::uint32_t kEndOfData = 38;
inline constexpr std::uint32_t kNotSupported = 50;
inline constexpr std::uint32_t kDiskFull = 112;
inline constexpr std::uint32_t kFileTooLarge = 223;

// The completion code of a request of kind `op` that failed with `os_error`.
std::uint32_t CompletionCodeOf(int os_error, std::int32_t op);

}  // namespace capstan::disk
