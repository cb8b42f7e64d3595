#include "server/coordinator/agents_table.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

namespace capstan::coordinator {
namespace {

constexpr std::int64_t kNow = 1'000'000;

AgentInfo Attached(const std::string& name, int pid) {
  return {.name = name,
          .plugin_name = "s3",
          .plugin_version = "1.2",
          .plugin_vendor = "Capstan",
          .device_class = "URL",
          .schemes = {"s3", "https"},
          .capabilities = capability::kRead | capability::kWrite,
          .device_features = 0x200,
          .pid = pid,
          .attached_unix_s = kNow - 60,
          .state = "Idle"};
}

// The row of the only agent, by column.
std::map<std::string, std::string> OnlyRow(const AgentsNow& now) {
  const catalog::Table table = AgentsTable(now);
  EXPECT_EQ(table.rows.size(), 1U);
  std::map<std::string, std::string> row;
  EXPECT_EQ(table.rows[0].size(), table.columns.size());
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    row[table.columns[i].name] = table.rows[0][i].value_or("NULL");
  }
  return row;
}

TEST(AgentsTable, AgentOfTheServer) {
  auto row = OnlyRow({.attached = {Attached("s3", 77)},
                      .gone = {},
                      .processes = {{.name = "s3",
                                     .plugin = "s3",
                                     .pid = 77,
                                     .started_unix_s = kNow - 61,
                                     .restarts = 2,
                                     .last_exit = "signal 11 (Segmentation fault)",
                                     .last_exit_unix_s = kNow - 62}},
                      .unix_s = kNow});
  EXPECT_EQ(row["state"], "Idle");
  EXPECT_EQ(row["pid"], "77");
  EXPECT_EQ(row["schemes"], "s3, https");
  EXPECT_EQ(row["features"], "read, write, random access");
  EXPECT_EQ(row["plugin_vendor"], "Capstan");
  EXPECT_EQ(row["started_by"], "server");
  EXPECT_EQ(row["restarts"], "2");
  EXPECT_EQ(row["last_exit"], "signal 11 (Segmentation fault) (62 s ago)");
  EXPECT_EQ(row["last_error"], "NULL");
}

TEST(AgentsTable, AgentThatStartsOrWaits) {
  AgentProcess process{.name = "tape", .plugin = "tape", .pid = 5, .started_unix_s = kNow};
  auto row = OnlyRow({.attached = {}, .gone = {}, .processes = {process}, .unix_s = kNow});
  EXPECT_EQ(row["state"], "Starting");
  EXPECT_EQ(row["plugin"], "tape");
  EXPECT_EQ(row["attached_at"], "NULL");
  EXPECT_EQ(row["last_exit"], "NULL");

  process.pid = 0;
  process.restart_unix_s = kNow + 3;
  process.last_exit = "exit 1: no such drive";
  process.last_exit_unix_s = kNow - 2;
  row = OnlyRow({.attached = {}, .gone = {}, .processes = {process}, .unix_s = kNow});
  EXPECT_EQ(row["state"], "Restarting in 3 s");
  EXPECT_EQ(row["pid"], "NULL");
  EXPECT_EQ(row["last_exit"], "exit 1: no such drive (2 s ago)");
}

TEST(AgentsTable, AgentOfSomebodyElse) {
  auto row =
      OnlyRow({.attached = {Attached("mine", 9)}, .gone = {}, .processes = {}, .unix_s = kNow});
  EXPECT_EQ(row["started_by"], "somebody else");
  EXPECT_EQ(row["restarts"], "NULL");
  EXPECT_EQ(row["started_at"], "NULL");

  AgentInfo gone = Attached("mine", 9);
  gone.gone_unix_s = kNow - 5;
  gone.last_error = "it ended its stream";
  row = OnlyRow({.attached = {}, .gone = {gone}, .processes = {}, .unix_s = kNow});
  EXPECT_EQ(row["state"], "Gone");
  EXPECT_EQ(row["pid"], "NULL");
  EXPECT_EQ(row["last_exit"], "it ended its stream (5 s ago)");
}

// It took a name of the configuration while the server's own was away.
TEST(AgentsTable, ForeignAgentUnderANameOfOurs) {
  auto row = OnlyRow({.attached = {Attached("s3", 9)},
                      .gone = {},
                      .processes = {{.name = "s3", .plugin = "s3", .pid = 10}},
                      .unix_s = kNow});
  EXPECT_EQ(row["pid"], "9");
  EXPECT_EQ(row["started_by"], "somebody else");
}

TEST(FeatureWords, AreEmptyForNothing) {
  EXPECT_EQ(FeatureWords(0, 0), "");
  EXPECT_EQ(FeatureWords(0xff, 0x301),
            "read, write, append, undo, recover, remove, retain, resume, random access, removable, "
            "file marks");
}

}  // namespace
}  // namespace capstan::coordinator
