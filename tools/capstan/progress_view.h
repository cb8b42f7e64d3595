// Progress -> lines of text. Pure; the terminal is console.h's business.
#pragma once

#include <string>
#include <vector>

#include "tools/client/response.h"

namespace capstan::cli {

struct ViewSize {
  int columns = 80;
  int lines = 24;
};

// The live block: a total line (bar, percent, bytes, rate, time left), then one line per device.
// No line is wider than `size.columns` cells and there are fewer than `size.lines` of them, so that
// it can be redrawn in place; what does not fit is left out, least important first.
std::vector<std::string> RenderProgress(const Progress& progress, ViewSize size);

// What is left of each device when the job has ended: "/srv/a.bak (disk): 1.2 GiB, mean 640.0
// MiB/s".
std::vector<std::string> RenderSummary(const Progress& progress);

// One row of `capstan top`.
struct TopDevice {
  std::string session;
  std::string device;  // name of its target
  std::string agent;
  std::string state;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_per_second_now = 0;
  std::uint64_t bytes_per_second_mean = 0;
  std::string in_flight;
  std::string wait;
  std::string errors;
  std::string latency_ms = {};  // of a request, on average
  std::string retries = {};
  std::string stops = {};
};

// One line per device; bars are relative to `scale_bytes_per_second`, the fastest seen.
std::vector<std::string> RenderTop(const std::vector<TopDevice>& devices,
                                   std::uint64_t scale_bytes_per_second, ViewSize size);

}  // namespace capstan::cli
