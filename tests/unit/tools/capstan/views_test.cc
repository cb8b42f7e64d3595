// Endpoints, history and lists: text from people or the server -> what is shown or used.
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tools/capstan/agent_view.h"
#include "tools/capstan/history_view.h"
#include "tools/capstan/row_reader.h"
#include "tools/client/endpoint.h"

namespace capstan::cli {
namespace {

using test::HasCode;
using test::IsOk;
using testing::ElementsAre;

TEST(ParseEndpoint, TakesEveryDocumentedForm) {
  EXPECT_EQ(ParseEndpoint("unix:/run/c.sock")->unix_path, "/run/c.sock");
  EXPECT_EQ(ParseEndpoint("unix:///run/c.sock")->grpc_target, "unix:/run/c.sock");
  EXPECT_EQ(ParseEndpoint("/run/c.sock")->grpc_target, "unix:/run/c.sock");
  EXPECT_EQ(ParseEndpoint("unix:c.sock")->unix_path, "c.sock");
  EXPECT_EQ(ParseEndpoint("db1:7100")->grpc_target, "dns:///db1:7100");
  EXPECT_EQ(ParseEndpoint("[::1]:7100")->grpc_target, "dns:///[::1]:7100");
  EXPECT_THAT(ParseEndpoint(kDefaultServer), IsOk());
}

TEST(ParseEndpoint, RefusesTheRest) {
  for (const char* const text : {"", "db1", "db1:", ":7100", "db1:0", "db1:65536", "db1:7x", "::1",
                                 "http://db1:80", "unix:", "db1:-1"}) {
    EXPECT_THAT(ParseEndpoint(text), HasCode(Code::kInvalidArgument)) << text;
  }
  EXPECT_THAT(ParseEndpoint("/" + std::string(107, 'x')), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ParseEndpoint("/" + std::string(106, 'x')), IsOk());
}

ResultSet OneRow(const std::vector<std::pair<std::string, std::optional<std::string>>>& cells) {
  ResultSet rows;
  Row row;
  for (const auto& [name, value] : cells) {
    rows.columns.push_back({name, "nvarchar"});
    row.push_back(value);
  }
  rows.rows.push_back(std::move(row));
  return rows;
}

TEST(FormatAgents, SaysWhatIsKnownAndNothingElse) {
  EXPECT_EQ(FormatAgents(OneRow({{"agent_name", "s3"},
                                 {"plugin", "s3"},
                                 {"plugin_version", "1.2"},
                                 {"plugin_vendor", "Capstan"},
                                 {"device_class", "URL"},
                                 {"schemes", "s3, https"},
                                 {"features", "read, write"},
                                 {"state", "Idle"},
                                 {"pid", "77"},
                                 {"attached_at", "2026-11-21 09:00:00.000"},
                                 {"started_by", "server"},
                                 {"restarts", "1"},
                                 {"last_exit", "signal 9 (Killed) (12 s ago)"},
                                 {"last_error", std::nullopt}})),
            "Agent 's3': Idle\n"
            "   Plugin: s3 1.2 by Capstan, URL, for s3, https\n"
            "   Features: read, write\n"
            "   Process: pid 77, started by server, 1 restart\n"
            "   Attached: 2026-11-21 09:00:00\n"
            "   Last exit: signal 9 (Killed) (12 s ago)\n");
  EXPECT_EQ(FormatAgents(OneRow({{"agent_name", "x\x1b[2J"}, {"state", "Starting"}})),
            "Agent 'x?[2J': Starting\n");
  EXPECT_EQ(FormatAgents({}), "");
}

TEST(FormatDevices, FitsEightyColumns) {
  const ResultSet rows = OneRow({{"session_id", "51"},
                                 {"target", "/" + std::string(200, 'x') + "/a.bak"},
                                 {"agent", "disk"},
                                 {"mode", "io_uring direct"},
                                 {"bytes", "1073741824"},
                                 {"current_bytes_per_second", "1048576"},
                                 {"mean_bytes_per_second", "2097152"},
                                 {"in_flight", "4"},
                                 {"state", "Active"},
                                 {"wait", "device"},
                                 {"errors", "0"},
                                 {"stops", "2"},
                                 {"waits_for", "the rate limit"},
                                 {"average_latency_ms", "1.25"},
                                 {"max_latency_ms", "80.500"},
                                 {"throttled_ms", "1500"},
                                 {"retries", "3"},
                                 {"last_error", std::string(300, 'e')}});
  const std::string text = FormatDevices(rows);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 80U + 4) << line;  // an ellipsis has more bytes than cells
  }
  EXPECT_THAT(text, testing::HasSubstr("   State: Active, waits for the rate limit\n"));
  EXPECT_THAT(text, testing::HasSubstr("   Agent: disk, io_uring direct\n"));
  EXPECT_THAT(text,
              testing::HasSubstr("   Requests: 4 in flight, latency 1.2 ms, at most 80.5 ms\n"));
  EXPECT_THAT(text, testing::HasSubstr("   Trouble: 3 retries, 2 stops, held back for 1.500 s\n"));
}

TEST(ParseDateTime, TakesTheServersFormsOnly) {
  EXPECT_EQ(ParseDateTime("1970-01-02 00:00:01"), 86401000);
  EXPECT_EQ(ParseDateTime("1970-01-01T00:00:00.5"), 500);
  EXPECT_EQ(ParseDateTime("1970-01-01 00:00:00.1234567"), 123);
  for (const char* const text :
       {"", "1970-01-01", "1970-13-01 00:00:00", "1970-02-30 00:00:00", "1970-01-01 24:00:00",
        "1970-01-01x00:00:00", "01.01.1970 00:00"}) {
    EXPECT_EQ(ParseDateTime(text), std::nullopt) << text;
  }
}

ResultSet Sets() {
  return {.columns = {{"backup_set_id", "int"},
                      {"media_set_id", "int"},
                      {"database_name", "nvarchar"},
                      {"type", "char(1)"},
                      {"backup_start_date", "datetime"},
                      {"backup_finish_date", "datetime"},
                      {"backup_size", "numeric(20,0)"}},
          .rows = {{"2", "7", "sales", "D", "2026-11-21 09:00:00.000", "2026-11-21 09:00:02.000",
                    "2097152"},
                   {"1", "8", "it's", "X", "2026-11-21 09:00:00", std::nullopt, std::nullopt}}};
}

ResultSet Devices() {
  return {.columns = {{"media_set_id", "int"},
                      {"family_sequence_number", "tinyint"},
                      {"mirror", "tinyint"},
                      {"physical_device_name", "nvarchar(260)"}},
          .rows = {{"7", "1", "0", "/b/1.bak"},
                   {"7", "1", "1", "/m/1.bak"},
                   {"7", "2", "0", "/b/2, too.bak"},
                   {"7", "2", "1", "/m/2.bak"}}};
}

TEST(History, JoinsSetsWithTheirDevices) {
  const std::vector<HistoryEntry> entries = BuildHistory(Sets(), Devices());

  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].type, "Full");
  EXPECT_EQ(entries[0].duration_ms, 2000u);
  EXPECT_EQ(entries[0].bytes_per_second, 1048576u);
  EXPECT_THAT(entries[0].devices, ElementsAre("/b/1.bak", "/b/2, too.bak"));
  EXPECT_THAT(entries[0].mirrors, ElementsAre(ElementsAre("/m/1.bak", "/m/2.bak")));
  EXPECT_EQ(entries[1].type, "X");
  EXPECT_EQ(entries[1].duration_ms, std::nullopt);
  EXPECT_THAT(entries[1].devices, ElementsAre());
}

TEST(History, ShowsWhatIsKnownAndADashForTheRest) {
  const ResultSet table = HistoryTable(BuildHistory(Sets(), Devices()));

  EXPECT_THAT(table.rows[0],
              ElementsAre("2026-11-21 09:00:02.000", "sales", "Full", "2.0 MiB", "2.000 s",
                          "1.0 MiB/s", "/b/1.bak, /b/2, too.bak mirrored to /m/1.bak, /m/2.bak"));
  EXPECT_THAT(table.rows[1], ElementsAre("-", "it's", "X", "-", "-", "-", ""));
}

TEST(History, KeepsDevicesApartInJson) {
  EXPECT_EQ(HistoryJson(BuildHistory(Sets(), Devices())),
            "[\n"
            "  {\"backup_set_id\": \"2\", \"database\": \"sales\", \"type\": \"Full\", "
            "\"started\": \"2026-11-21 09:00:00.000\", \"finished\": \"2026-11-21 09:00:02.000\", "
            "\"size_bytes\": 2097152, \"duration_ms\": 2000, \"bytes_per_second\": 1048576, "
            "\"devices\": [\"/b/1.bak\", \"/b/2, too.bak\"], "
            "\"mirrors\": [[\"/m/1.bak\", \"/m/2.bak\"]]},\n"
            "  {\"backup_set_id\": \"1\", \"database\": \"it's\", \"type\": \"X\", "
            "\"started\": \"2026-11-21 09:00:00\", \"finished\": \"\", \"size_bytes\": null, "
            "\"duration_ms\": null, \"bytes_per_second\": null, \"devices\": [], \"mirrors\": []}\n"
            "]\n");
  EXPECT_EQ(HistoryJson({}), "[]\n");
}

TEST(Laid, PicksColumnsAndFormatsFigures) {
  const ResultSet set{.columns = {{"b", "bigint"}, {"a", "nvarchar"}, {"p", "real"}, {"t", "int"}},
                      .rows = {{"2048", "x", "52.345", "1500"},
                               {std::nullopt, std::nullopt, std::nullopt, "soon"}}};
  constexpr std::array kViews = std::to_array<ColumnView>({{"a", "A"},
                                                           {"b", "B", Unit::kBytes},
                                                           {"b", "R", Unit::kBytesPerSecond},
                                                           {"p", "P", Unit::kPercent},
                                                           {"t", "T", Unit::kMilliseconds},
                                                           {"missing", "M"}});

  const ResultSet laid = Laid(set, kViews);

  EXPECT_EQ(laid.columns[1].name, "B");
  EXPECT_THAT(laid.rows[0], ElementsAre("x", "2.0 KiB", "2.0 KiB/s", "52.3 %", "1.500 s", "-"));
  EXPECT_THAT(laid.rows[1], ElementsAre("-", "-", "-", "-", "soon", "-"));
}

}  // namespace
}  // namespace capstan::cli
