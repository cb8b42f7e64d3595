// SQL Server's messages: number, severity, state and text, in one place.
//
// An error of the engine is a Status that carries a message number (Status::reason) and the
// finished text; the coordinator looks severity and state up again when it sends the message to the
// requester. Texts are SQL Server's to the letter; "SQL Server" became "Capstan" only where a text
// names the product itself. Numbers from 65000 on are ours.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "vdi/base/status.h"

namespace capstan {

struct MessageInfo {
  int number;
  int severity;  // 0..10 informs, 11..25 is an error
  int state;
  Code code;                // what a caller should do
  std::string_view format;  // fmt syntax
};

// Null if the number is unknown.
const MessageInfo* FindMessage(int number);

namespace internal {
std::string FormatMessage(int number, fmt::format_args args);
Status MakeError(int number, fmt::format_args args);
}  // namespace internal

// The text of a message, for those that inform (3014, 3211, 4035, ...).
template <typename... Args>
std::string MessageText(int number, Args&&... args) {
  return internal::FormatMessage(number, fmt::make_format_args(args...));
}

// An error of SQL Server's catalogue: SqlError(3201, device, "2(No such file or directory)").
template <typename... Args>
Status SqlError(int number, Args&&... args) {
  return internal::MakeError(number, fmt::make_format_args(args...));
}

// "5(Access is denied.)": how SQL Server prints an operating system error inside a message; the
// text is the operating system's.
std::string OsErrorText(int os_error);

}  // namespace capstan
