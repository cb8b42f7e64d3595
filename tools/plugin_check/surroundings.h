// What a plugin may leave traces in: threads, descriptors and memory of the process, what is global
// in it, files, and the page cache.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace capstan::plugin_check {

struct Holdings {
  std::size_t threads = 0;
  std::size_t descriptors = 0;
  std::size_t resident_bytes = 0;
};

Holdings HoldingsOfThisProcess();

// Waits (2 s at most) until there are no more threads and descriptors than in `before`: kernel
// threads and closing files take their time. What is there then.
Holdings SettledHoldings(const Holdings& before);

// Threads besides the calling one that do not block a signal that they should; names and signals.
std::vector<std::string> ThreadsThatTakeSignals();

// Signals, working directory, umask, locale and environment as text, one line each.
std::vector<std::string> GlobalState();

// Paths of all files below a folder, sorted; empty without one.
std::vector<std::string> FilesBelow(const std::string& folder);

// What the page cache has of regular files and the disk has not.
struct Unwritten {
  std::size_t bytes = 0;
  std::string file;  // one of them
};

// Below `folder`. Nothing: this kernel (before 6.5) or file system cannot tell, and *why says so.
std::optional<Unwritten> UnwrittenBelow(const std::string& folder, std::string* why);

}  // namespace capstan::plugin_check
