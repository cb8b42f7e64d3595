// What this process holds of the system: descriptors, threads, mappings of shared memory, memory,
// children. For tests that must leave nothing behind.
//
//   const auto before = ProcessFootprint::Now();
//   ... work ...
//   EXPECT_EQ(LeakedSince(before), "");
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <unistd.h>

#include "vdi/base/clock.h"

namespace capstan::test {

struct ProcessFootprint {
  std::size_t descriptors = 0;  // but pipes, by which a sanitizer talks to its symbolizer
  std::size_t threads = 0;
  std::size_t segments = 0;  // mappings of memfds, which is what device sets are made of
  std::size_t mappings = 0;
  std::size_t resident_kib = 0;

  static ProcessFootprint Now() {
    ProcessFootprint now;
    now.descriptors = Descriptors().size();
    now.threads = static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line); ++now.mappings) {
      now.segments += line.find("/memfd:") != std::string::npos ? 1 : 0;
    }
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    now.resident_kib = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
    return now;
  }

  std::string ToString() const {
    return std::to_string(descriptors) + " descriptors, " + std::to_string(threads) + " threads, " +
           std::to_string(segments) + " mapped segments, " + std::to_string(resident_kib) +
           " KiB resident";
  }

  // What they are open on.
  static std::vector<std::string> Descriptors() {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
      if (!gone && !target.starts_with("pipe:")) {
        all.push_back(target);
      }
    }
    return all;
  }
};

// "" if what `before` counted was not exceeded, at the latest two seconds from now: threads and
// descriptors of a peer that has just gone may take an instant. Memory is left to the caller, who
// knows how much is in order.
inline std::string LeakedSince(const ProcessFootprint& before) {
  const Deadline patience = Deadline::After(std::chrono::seconds(2));
  for (;;) {
    const ProcessFootprint now = ProcessFootprint::Now();
    if (now.descriptors <= before.descriptors && now.threads <= before.threads &&
        now.segments <= before.segments) {
      return "";
    }
    if (patience.passed()) {
      std::string report = "before: " + before.ToString() + "; now: " + now.ToString() + ":";
      for (const std::string& target : ProcessFootprint::Descriptors()) {
        report += " " + target;
      }
      return report;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace capstan::test
