// Endpoints, history and lists: text from people or the server -> what is shown or used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
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
                      {"physical_device_name", "nvarchar(260)"}},
          .rows = {{"7", "1", "/b/1.bak"}, {"7", "2", "/b/2, too.bak"}}};
}

TEST(History, JoinsSetsWithTheirDevices) {
  const std::vector<HistoryEntry> entries = BuildHistory(Sets(), Devices());

  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].type, "Full");
  EXPECT_EQ(entries[0].duration_ms, 2000u);
  EXPECT_EQ(entries[0].bytes_per_second, 1048576u);
  EXPECT_THAT(entries[0].devices, ElementsAre("/b/1.bak", "/b/2, too.bak"));
  EXPECT_EQ(entries[1].type, "X");
  EXPECT_EQ(entries[1].duration_ms, std::nullopt);
  EXPECT_THAT(entries[1].devices, ElementsAre());
}

TEST(History, ShowsWhatIsKnownAndADashForTheRest) {
  const ResultSet table = HistoryTable(BuildHistory(Sets(), Devices()));

  EXPECT_THAT(table.rows[0], ElementsAre("2026-11-21 09:00:02.000", "sales", "Full", "2.0 MiB",
                                         "2.000 s", "1.0 MiB/s", "/b/1.bak, /b/2, too.bak"));
  EXPECT_THAT(table.rows[1], ElementsAre("-", "it's", "X", "-", "-", "-", ""));
}

TEST(History, KeepsDevicesApartInJson) {
  EXPECT_EQ(HistoryJson(BuildHistory(Sets(), Devices())),
            "[\n"
            "  {\"backup_set_id\": \"2\", \"database\": \"sales\", \"type\": \"Full\", "
            "\"started\": \"2026-11-21 09:00:00.000\", \"finished\": \"2026-11-21 09:00:02.000\", "
            "\"size_bytes\": 2097152, \"duration_ms\": 2000, \"bytes_per_second\": 1048576, "
            "\"devices\": [\"/b/1.bak\", \"/b/2, too.bak\"]},\n"
            "  {\"backup_set_id\": \"1\", \"database\": \"it's\", \"type\": \"X\", "
            "\"started\": \"2026-11-21 09:00:00\", \"finished\": \"\", \"size_bytes\": null, "
            "\"duration_ms\": null, \"bytes_per_second\": null, \"devices\": []}\n"
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
