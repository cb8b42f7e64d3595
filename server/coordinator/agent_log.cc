#include "server/coordinator/agent_log.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace capstan::coordinator {
namespace {

constexpr std::size_t kLineMax = 400;  // bytes that are kept of a line

// "E 12:03:04.512 text", as vdi/base/log.h writes it -> "text".
std::string_view WithoutTime(std::string_view line) {
  constexpr std::size_t kPrefix = std::string_view("E 12:03:04.512 ").size();
  const bool dated = line.size() > kPrefix && line[1] == ' ' && line[4] == ':' && line[10] == '.' &&
                     line[kPrefix - 1] == ' ';
  return dated ? line.substr(kPrefix) : line;
}

void WriteAll(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0 && errno != EINTR) {
      return;  // nothing sensible is left to do
    }
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
  }
}

}  // namespace

UniqueFd AgentLog::Begin() {
  begun_.clear();
  last_line_.clear();
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    read_end_.Reset();
    return UniqueFd();
  }
  read_end_.Reset(ends[0]);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return UniqueFd(ends[1]);
}

void AgentLog::PassOn() {
  std::array<char, 4096> chunk{};
  while (read_end_.valid()) {
    const ssize_t size = ::read(read_end_.get(), chunk.data(), chunk.size());
    if (size > 0) {
      const std::string_view text(chunk.data(), static_cast<std::size_t>(size));
      WriteAll(text);
      Keep(text);
    } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
      Keep("\n");
      read_end_.Reset();
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

void AgentLog::Keep(std::string_view text) {
  for (const char c : text) {
    if (c != '\n') {
      if (begun_.size() < kLineMax) {
        begun_ += c;
      }
      continue;
    }
    const std::string_view line = WithoutTime(begun_);
    if (!line.empty() && !line.starts_with("HINT: ")) {
      last_line_ = line;
    }
    begun_.clear();
  }
}

}  // namespace capstan::coordinator
