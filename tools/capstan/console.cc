#include "tools/capstan/console.h"

#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace capstan::cli {
namespace {

bool IsTerminal(std::FILE* stream) {
  const char* const term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  return !dumb && ::isatty(::fileno(stream)) == 1;
}

void WriteAll(std::FILE* stream, std::string_view text) {
  // A failure is kept in the stream; Flush reports it for standard output.
  (void)std::fwrite(text.data(), 1, text.size(), stream);
  (void)std::fflush(stream);
}

// To the first column of the block's first line.
std::string Upwards(std::size_t lines) {
  return lines == 0 ? "" : fmt::format("\r\x1b[{}A", lines);
}

std::string BlockText(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    text += line + "\x1b[K\n";  // K: what an older, longer line left behind
  }
  return text;
}

}  // namespace

Console::Console(std::FILE* out, std::FILE* error)
    : out_(out),
      error_(error),
      out_is_terminal_(IsTerminal(out)),
      error_is_terminal_(IsTerminal(error)) {}

ViewSize Console::size() const {
  winsize window{};
  if (::ioctl(::fileno(error_), TIOCGWINSZ, &window) != 0 || window.ws_col == 0 ||
      window.ws_row == 0) {
    return {};
  }
  return {.columns = window.ws_col, .lines = window.ws_row};
}

void Console::Out(std::string_view text) {
  Write(out_, text);
}

void Console::Error(std::string_view text) {
  Write(error_, text);
}

void Console::DrawLive(std::vector<std::string> lines) {
  const std::string text = Upwards(live_.size()) + BlockText(lines) + "\x1b[J";
  live_ = std::move(lines);
  WriteAll(error_, text);
}

void Console::KeepLive() {
  live_.clear();
}

bool Console::Flush() {
  return std::fflush(out_) == 0 && std::ferror(out_) == 0;
}

void Console::Write(std::FILE* stream, std::string_view text) {
  if (live_.empty()) {
    WriteAll(stream, text);
    return;
  }
  WriteAll(error_, Upwards(live_.size()) + "\x1b[J");
  WriteAll(stream, text);
  WriteAll(error_, BlockText(live_));
}

}  // namespace capstan::cli
