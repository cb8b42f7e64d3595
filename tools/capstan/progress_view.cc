#include "tools/capstan/progress_view.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include <fmt/format.h>

#include "tools/capstan/units.h"
#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

constexpr int kNarrowestBar = 10;
constexpr int kWidestBar = 40;
constexpr int kNarrowestName = 12;

std::uint64_t TotalRate(const Progress& progress) {
  std::uint64_t rate = 0;
  for (const DeviceProgress& device : progress.devices) {
    rate += device.bytes_per_second_now;
  }
  if (rate == 0 && progress.elapsed_ms > 0) {
    // Before the first second is over the devices have no current rate yet.
    rate = static_cast<std::uint64_t>(static_cast<double>(progress.bytes_done) * 1000 /
                                      static_cast<double>(progress.elapsed_ms));
  }
  return rate;
}

// From the mean so far, which jumps less than the current rate. Empty while nothing can be said.
std::string TimeLeft(const Progress& progress) {
  const double percent = progress.percent;
  if (!(percent > 0) || percent >= 100 || progress.elapsed_ms == 0) {
    return "";
  }
  const double left_ms = static_cast<double>(progress.elapsed_ms) * (100 - percent) / percent;
  constexpr double kLongestMs = 1e12;  // thirty years: not an estimate any more
  if (left_ms > kLongestMs) {
    return "";
  }
  const std::uint64_t seconds = static_cast<std::uint64_t>(std::ceil(left_ms / 1000));
  return fmt::format("ETA {}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string TotalLine(const Progress& progress, int columns) {
  const double percent =
      std::isnan(progress.percent) ? 0 : std::clamp(progress.percent, 0.0, 100.0);
  // Rounded down: 100.0 % means all of it.
  const std::string head = fmt::format("{:5.1f} %", std::floor(percent * 10) / 10);
  std::string bytes = FormatBytes(progress.bytes_done);
  if (progress.bytes_total > 0) {
    bytes += " of " + FormatBytes(progress.bytes_total);
  }
  // In order of importance; each is taken if it still fits.
  const std::string parts[] = {FormatRate(TotalRate(progress)), TimeLeft(progress), bytes,
                               Printable(progress.phase)};
  std::string tail;
  for (const std::string& part : parts) {
    const int width = DisplayWidth(head) + DisplayWidth(tail) + 2 + DisplayWidth(part);
    if (!part.empty() && width <= columns) {
      tail += "  " + part;
    }
  }
  const int room = columns - DisplayWidth(head) - DisplayWidth(tail) - 3;
  const int bar = std::min(room, kWidestBar);
  if (bar < kNarrowestBar) {
    return ShortenEnd(head + tail, columns);
  }
  return fmt::format("[{}] {}{}", FormatBar(percent / 100, bar), head, tail);
}

// A device's figures: the widest choice that leaves room for a name.
std::string DeviceFigures(const DeviceProgress& device, int columns) {
  const std::string bytes = fmt::format("{:>10}", FormatBytes(device.bytes));
  const std::string rate = fmt::format("{:>12}", FormatRate(device.bytes_per_second_now));
  const std::string mean = fmt::format("mean {:>12}", FormatRate(device.bytes_per_second_mean));
  const std::string in_flight = fmt::format("{:>3} in flight", device.in_flight);
  const std::string choices[] = {
      fmt::format("{}  {}  {}  {}  {}", bytes, rate, mean, in_flight,
                  PadRight(Printable(device.state), 10)),
      fmt::format("{}  {}  {}  {}", bytes, rate, mean, in_flight),
      fmt::format("{}  {}  {}", bytes, rate, mean),
      fmt::format("{}  {}", bytes, rate),
      rate,
  };
  for (const std::string& choice : choices) {
    if (DisplayWidth(choice) + 4 + kNarrowestName <= columns) {
      return choice;
    }
  }
  return "";
}

std::string DeviceLine(const DeviceProgress& device, int name_width, int columns) {
  const std::string figures = DeviceFigures(device, columns);
  const int room = columns - 4 - DisplayWidth(figures);
  const int width = std::max(0, std::min(name_width, figures.empty() ? columns - 2 : room));
  const std::string name = ShortenMiddle(Printable(device.name), width);
  std::string line = figures.empty() ? "  " + name : "  " + PadRight(name, width) + "  " + figures;
  line.erase(line.find_last_not_of(' ') + 1);
  return ShortenEnd(line, columns);
}

// How many of `count` lines fit below the `head` lines already there; when some do not, one line is
// kept for saying so.
std::size_t FittingLines(std::size_t count, int lines, int head) {
  const std::size_t room = static_cast<std::size_t>(std::max(lines - 1 - head, 0));
  return count <= room ? count : (room == 0 ? 0 : room - 1);
}

void AddMoreLine(std::vector<std::string>& lines, std::size_t hidden, ViewSize size) {
  if (hidden > 0 && static_cast<int>(lines.size()) + 1 < size.lines) {
    lines.push_back(ShortenEnd(fmt::format("  ... and {} more devices", hidden), size.columns));
  }
}

}  // namespace

std::vector<std::string> RenderProgress(const Progress& progress, ViewSize size) {
  std::vector<std::string> lines = {TotalLine(progress, size.columns)};
  const std::size_t shown = FittingLines(progress.devices.size(), size.lines, 1);
  int name_width = 0;
  for (const DeviceProgress& device : progress.devices) {
    name_width = std::max(name_width, DisplayWidth(Printable(device.name)));
  }
  for (std::size_t i = 0; i < shown; ++i) {
    lines.push_back(DeviceLine(progress.devices[i], name_width, size.columns));
  }
  AddMoreLine(lines, progress.devices.size() - shown, size);
  return lines;
}

std::vector<std::string> RenderSummary(const Progress& progress) {
  std::vector<std::string> lines;
  for (const DeviceProgress& device : progress.devices) {
    const std::string agent =
        device.agent.empty() ? "" : fmt::format(" ({})", Printable(device.agent));
    lines.push_back(fmt::format("{}{}: {}, mean {}", Printable(device.name), agent,
                                FormatBytes(device.bytes),
                                FormatRate(device.bytes_per_second_mean)));
  }
  return lines;
}

std::vector<std::string> RenderTop(const std::vector<TopDevice>& devices,
                                   std::uint64_t scale_bytes_per_second, ViewSize size) {
  constexpr int kBar = 20;
  constexpr int kFigures = 12 + 2 + 12 + 2 + 10;  // rate, mean, bytes
  const int fixed = 8 + kFigures + 2;             // session in front, a gap before the name
  const bool with_bar = size.columns >= fixed + kBar + 4 + kNarrowestName;
  const int name_width = std::max(0, size.columns - fixed - (with_bar ? kBar + 4 : 0));
  std::vector<std::string> lines;
  lines.push_back(
      ShortenEnd(fmt::format("{:>6}  {}{:>12}  {:>12}  {:>10}  device", "job",
                             with_bar ? PadRight("", kBar + 4) : "", "now", "mean", "bytes"),
                 size.columns));
  const std::size_t shown = FittingLines(devices.size(), size.lines, 1);
  for (std::size_t i = 0; i < shown; ++i) {
    const TopDevice& device = devices[i];
    const double fraction = scale_bytes_per_second == 0
                                ? 0
                                : static_cast<double>(device.bytes_per_second_now) /
                                      static_cast<double>(scale_bytes_per_second);
    const std::string bar = with_bar ? fmt::format("[{}]  ", FormatBar(fraction, kBar)) : "";
    std::string name = fmt::format("{} {}", Printable(device.device), Printable(device.agent));
    name += device.in_flight.empty() ? "" : fmt::format("  {} in flight", device.in_flight);
    name += device.state.empty() ? "" : "  " + Printable(device.state);
    name += device.wait.empty() ? "" : ", waits for " + Printable(device.wait);
    name += device.latency_ms.empty() ? "" : fmt::format("  {} ms", Printable(device.latency_ms));
    name += device.retries.empty() || device.retries == "0"
                ? ""
                : fmt::format("  {} retries", Printable(device.retries));
    name += device.stops.empty() || device.stops == "0"
                ? ""
                : fmt::format("  {} stops", Printable(device.stops));
    name += device.errors.empty() || device.errors == "0"
                ? ""
                : fmt::format("  {} errors", Printable(device.errors));
    lines.push_back(
        ShortenEnd(fmt::format("{:>6}  {}{:>12}  {:>12}  {:>10}  {}", Printable(device.session),
                               bar, FormatRate(device.bytes_per_second_now),
                               FormatRate(device.bytes_per_second_mean), FormatBytes(device.bytes),
                               ShortenEnd(name, name_width)),
                   size.columns));
  }
  AddMoreLine(lines, devices.size() - shown, size);
  return lines;
}

}  // namespace capstan::cli
