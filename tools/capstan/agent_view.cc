#include "tools/capstan/agent_view.h"

#include <cstdlib>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "tools/capstan/row_reader.h"
#include "tools/capstan/units.h"
#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

constexpr int kColumns = 80;

std::string Cell(const RowReader& row, std::string_view column) {
  return Printable(row.Text(column));
}

// Lines with a title; those that have nothing to say are left out.
class Block {
 public:
  explicit Block(std::string_view head) : text_(ShortenEnd(std::string(head), kColumns) + "\n") {}

  void Add(std::string_view title, const std::string& value) {
    if (!value.empty()) {
      text_ += ShortenEnd(fmt::format("   {}: {}", title, value), kColumns) + "\n";
    }
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string JoinedParts(const std::vector<std::string>& parts, std::string_view separator) {
  std::string joined;
  for (const std::string& part : parts) {
    joined += part.empty() ? "" : (joined.empty() ? "" : std::string(separator)) + part;
  }
  return joined;
}

// "title value", or nothing without a value, or where zero says nothing.
std::string Titled(std::string_view title, const std::string& value) {
  return value.empty() || value == "0" ? "" : fmt::format("{} {}", title, value);
}

std::string Counted(const std::string& count, std::string_view what) {
  return count.empty() || count == "0" ? "" : fmt::format("{} {}", count, what);
}

std::string Latency(const RowReader& row) {
  const std::string average = Cell(row, "average_latency_ms");
  return average.empty() ? ""
                         : fmt::format("latency {:.1f} ms, at most {:.1f} ms",
                                       std::strtod(average.c_str(), nullptr),
                                       std::strtod(row.Text("max_latency_ms").c_str(), nullptr));
}

}  // namespace

std::string FormatAgents(const ResultSet& agents) {
  std::string text;
  for (const Row& one : agents.rows) {
    const RowReader row(agents, one);
    const std::string restarts = Cell(row, "restarts");
    Block block(fmt::format("Agent '{}': {}", Cell(row, "agent_name"), Cell(row, "state")));
    block.Add("Plugin",
              JoinedParts({JoinedParts({Cell(row, "plugin"), Cell(row, "plugin_version"),
                                        Titled("by", Cell(row, "plugin_vendor"))},
                                       " "),
                           Cell(row, "device_class"), Titled("for", Cell(row, "schemes"))},
                          ", "));
    block.Add("Features", Cell(row, "features"));
    block.Add("Process", JoinedParts({Titled("pid", Cell(row, "pid")),
                                      Titled("started by", Cell(row, "started_by")),
                                      Counted(restarts, restarts == "1" ? "restart" : "restarts")},
                                     ", "));
    block.Add("Attached", Cell(row, "attached_at").substr(0, 19));
    block.Add("Last exit", Cell(row, "last_exit"));
    block.Add("Last error", Cell(row, "last_error"));
    text += (text.empty() ? "" : "\n") + block.text();
  }
  return text;
}

std::string FormatDevices(const ResultSet& devices) {
  std::string text;
  for (const Row& one : devices.rows) {
    const RowReader row(devices, one);
    const std::string retries = Cell(row, "retries");
    const std::string agent = JoinedParts({Cell(row, "agent"), Cell(row, "mode")}, ", ");
    const std::string waits_for =
        row.Text("waits_for").empty() ? Cell(row, "wait") : Cell(row, "waits_for");
    const std::uint64_t throttled = row.Unsigned("throttled_ms").value_or(0);
    Block block(fmt::format("Job {}: {}", Cell(row, "session_id"),
                            ShortenMiddle(Cell(row, "target"), kColumns - 10)));
    block.Add("State", JoinedParts({Cell(row, "state"), Titled("waits for", waits_for)}, ", "));
    block.Add("Agent", JoinedParts({agent, Titled("medium", Cell(row, "medium"))}, ", "));
    block.Add("Rate", fmt::format("{} now, {} mean, {} in all",
                                  FormatRate(row.Unsigned("current_bytes_per_second").value_or(0)),
                                  FormatRate(row.Unsigned("mean_bytes_per_second").value_or(0)),
                                  FormatBytes(row.Unsigned("bytes").value_or(0))));
    block.Add("Requests",
              JoinedParts({Counted(Cell(row, "in_flight"), "in flight"), Latency(row)}, ", "));
    block.Add(
        "Trouble",
        JoinedParts({Counted(retries, retries == "1" ? "retry" : "retries"),
                     Counted(Cell(row, "stops"), "stops"), Counted(Cell(row, "errors"), "errors"),
                     throttled == 0 ? "" : "held back for " + FormatDuration(throttled)},
                    ", "));
    block.Add("Last error", Cell(row, "last_error"));
    text += (text.empty() ? "" : "\n") + block.text();
  }
  return text;
}

}  // namespace capstan::cli
