#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "tools/capstan/commands/list.h"
#include "tools/capstan/json_printer.h"
#include "tools/capstan/progress_view.h"
#include "tools/capstan/units.h"
#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds kRefreshInterval = 1000ms;
constexpr ViewSize kPipe = {.columns = 200, .lines = 1000};

std::vector<TopDevice> DevicesOf(const ResultSet& rows) {
  std::vector<TopDevice> devices;
  for (const Row& row : rows.rows) {
    const RowReader reader(rows, row);
    const std::string target = reader.Text("target");
    devices.push_back(
        {.session = reader.Text("session_id"),
         .device = target.empty() ? reader.Text("device_name") : target,
         .agent = reader.Text("agent"),
         .state = reader.Text("state"),
         .bytes = reader.Unsigned("bytes").value_or(0),
         .bytes_per_second_now = reader.Unsigned("current_bytes_per_second").value_or(0),
         .bytes_per_second_mean = reader.Unsigned("mean_bytes_per_second").value_or(0),
         .in_flight = reader.Text("in_flight"),
         .wait = reader.Text("waits_for").empty() ? reader.Text("wait") : reader.Text("waits_for"),
         .errors = reader.Text("errors"),
         .latency_ms = reader.Text("average_latency_ms"),
         .retries = reader.Text("retries"),
         .stops = reader.Text("stops")});
  }
  return devices;
}

// "09:08:46  2 devices, 640.0 MiB/s" and one line per running job; leaves room for the devices.
std::vector<std::string> Headlines(const std::vector<TopDevice>& devices, const ResultSet& jobs,
                                   ViewSize size) {
  std::uint64_t rate = 0;
  for (const TopDevice& device : devices) {
    rate += device.bytes_per_second_now;
  }
  std::vector<std::string> lines = {fmt::format("{:%H:%M:%S}  {} devices, {}",
                                                fmt::localtime(std::time(nullptr)), devices.size(),
                                                FormatRate(rate))};
  for (const Row& row : jobs.rows) {
    const RowReader reader(jobs, row);
    lines.push_back(Printable(fmt::format(
        "{:>6}  {} {}  {:.1f} %  {}", reader.Text("session_id"), reader.Text("command"),
        reader.Text("database_name"), std::strtod(reader.Text("percent_complete").c_str(), nullptr),
        reader.Text("phase"))));
  }
  lines.resize(std::min(lines.size(), static_cast<std::size_t>(std::max(size.lines / 2, 1))));
  for (std::string& line : lines) {
    line = ShortenEnd(line, size.columns);
  }
  return lines;
}

}  // namespace

ExitStatus RunTop(Session& session, const TopOptions& options) {
  const std::string batch =
      ListStatement(ListSubject::kDevices) + ";\n" + ListStatement(ListSubject::kJobs) + ";";
  Console& console = session.console;
  const bool live = !options.once && options.format == OutputFormat::kTable &&
                    console.out_is_terminal() && console.error_is_terminal();
  std::uint64_t fastest = 0;
  for (;;) {
    const QueryResult result = Query(session, batch, 2);
    if (session.interrupt.WaitFor(0ms)) {
      return ExitStatus::kDone;  // Ctrl-C is how one leaves
    }
    if (result.status != ExitStatus::kDone) {
      return result.status;
    }
    if (options.format == OutputFormat::kJson) {
      console.Out(FormatJson(result.result_sets[0]));
    } else {
      const ViewSize size = live ? console.size() : kPipe;
      const std::vector<TopDevice> devices = DevicesOf(result.result_sets[0]);
      for (const TopDevice& device : devices) {
        fastest = std::max(fastest, device.bytes_per_second_now);
      }
      std::vector<std::string> lines = Headlines(devices, result.result_sets[1], size);
      const int left = std::max(size.lines - static_cast<int>(lines.size()), 2);
      const std::vector<std::string> table =
          RenderTop(devices, fastest, {.columns = size.columns, .lines = left});
      lines.insert(lines.end(), table.begin(), table.end());
      if (live) {
        console.DrawLive(std::move(lines));
      } else {
        console.Out(fmt::format("{}\n", fmt::join(lines, "\n")));
      }
    }
    if (options.once || session.interrupt.WaitFor(kRefreshInterval)) {
      console.KeepLive();
      return ExitStatus::kDone;
    }
  }
}

}  // namespace capstan::cli
