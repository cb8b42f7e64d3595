#include "tools/client/message_text.h"

#include <fmt/format.h>

#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

// Keeps line ends, for messages of several lines.
std::string PrintableLines(std::string_view text) {
  std::string result;
  for (;;) {
    const std::size_t end = text.find('\n');
    result += Printable(text.substr(0, end)) + '\n';
    if (end == std::string_view::npos || end + 1 == text.size()) {
      return result;
    }
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string FormatMessage(const ServerMessage& message, std::string_view server_name) {
  std::string text;
  if (message.is_error()) {
    const std::string server =
        server_name.empty() ? "" : fmt::format(", Server {}", Printable(server_name));
    text = fmt::format("Msg {}, Level {}, State {}{}, Line {}\n", message.number, message.severity,
                       message.state, server, message.line);
  }
  text += PrintableLines(message.text);
  if (!message.hint.empty()) {
    text += "HINT: " + PrintableLines(message.hint);
  }
  return text;
}

ServerMessage RefusedLogin(const Status& status) {
  return {.number = status.reason(),
          .severity = 14,
          .state = 1,
          .line = 1,
          .text = std::string(status.message()),
          .hint = std::string(status.hint()),
          .server_name = ""};
}

std::string FormatRowCount(std::size_t row_count) {
  return fmt::format("\n({} rows affected)\n", row_count);
}

}  // namespace capstan::cli
