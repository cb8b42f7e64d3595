// Who asks, and how a password gets here: from the environment, a file, standard input or a
// terminal that does not show it; never from the arguments of a program of ours.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vdi/base/status.h"

namespace capstan::cli {

struct Credentials {
  std::string login;                    // empty = the operating system's user
  std::optional<std::string> password;  // nullopt = none was given
};

// Who runs this program, as history rows name it; the number if the user has no name.
std::string SystemUserName();

// The value of a variable of the environment; nullopt if it is not set. Empty counts as set.
std::optional<std::string> EnvironmentValue(const char* name);

// Asks at the terminal that controls this program, without echo. kFailedPrecondition: there is
// none. kCancelled: Ctrl-C.
Result<std::string> AskPassword(std::string_view prompt);

// The first line of a file; "-" is standard input. kInvalidArgument: it is empty.
Result<std::string> ReadPasswordFile(const std::string& path);

}  // namespace capstan::cli
