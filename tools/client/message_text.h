// Messages and row counts as sqlcmd words them. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tools/client/response.h"
#include "vdi/base/status.h"

namespace capstan::cli {

// Errors: "Msg 3201, Level 16, State 1, Line 1\n<text>\n", with ", Server <name>" before the line
// if a name is given; others: "<text>\n"; then the hint's line. What may not go to a terminal is
// replaced.
std::string FormatMessage(const ServerMessage& message, std::string_view server_name = "");

// The error that a refused login is; its hint comes along. REQUIRES: kUnauthenticated
ServerMessage RefusedLogin(const Status& status);

// As sqlcmd ends a result set: "\n(3 rows affected)\n".
std::string FormatRowCount(std::size_t row_count);

}  // namespace capstan::cli
