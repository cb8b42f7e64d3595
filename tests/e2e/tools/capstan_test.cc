// What the built `capstan` sends to a server, and what it prints where, with a scripted server at
// the other end. What it cannot show: that the real server understands the statements.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/tools/capstan_fixture.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

bool IsJson(const std::string& text) {
  return Process("/usr/bin/env", {"python3", "-m", "json.tool"}, {.standard_input = text})
             .Wait()
             .exit_status == 0;
}

TEST_F(Capstan, ExecPrintsAsSqlcmdDoes) {
  server_->Answer("SELECT", {Information("Hello"), Columns({"name nvarchar(128)", "id int"}),
                             Values({"sales", "5"}), Values({"x", nullptr}), Information("Bye")});

  const ProcessResult result = Run({"exec", "SELECT name"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out,
            "Hello\nname    id\n----- ----\nsales    5\nx     NULL\n\n(2 rows affected)\nBye\n");
  EXPECT_EQ(result.error, "");
}

TEST_F(Capstan, ErrorsGoToStandardErrorWithTheirHint) {
  server_->Answer("BACKUP",
                  {Information("Processing"),
                   ErrorMessage(3201, "Cannot open backup device '/x'.", "check the directory"),
                   ErrorMessage(3013, "BACKUP DATABASE is terminating abnormally.")},
                  Ending::kFailed);

  const ProcessResult result = Run({"exec", "BACKUP DATABASE x TO DISK = '/x'"});

  EXPECT_EQ(result.exit_status, 1);
  EXPECT_EQ(result.out, "Processing\n");
  EXPECT_EQ(result.error,
            "Msg 3201, Level 16, State 1, Line 1\nCannot open backup device '/x'.\n"
            "HINT: check the directory\n"
            "Msg 3013, Level 16, State 1, Line 1\nBACKUP DATABASE is terminating abnormally.\n");
}

TEST_F(Capstan, ExecReadsStandardInputAndFilesInBatches) {
  server_->Answer("PRINT", {});
  const std::string script = directory_.Under("s.sql");
  std::ofstream(script) << "PRINT 3\nGO 2\n";

  EXPECT_EQ(Run({"exec"}, {.standard_input = "PRINT 1\nGO\nPRINT 2"}).exit_status, 0);
  EXPECT_EQ(Run({"exec", "-"}, {.standard_input = "PRINT 4"}).exit_status, 0);
  EXPECT_EQ(Run({"exec", "--file", script}).exit_status, 0);

  std::vector<std::string> batches;
  for (const v1::ExecuteRequest& request : server_->Requests()) {
    batches.push_back(request.batch());
  }
  EXPECT_THAT(batches, ElementsAre("PRINT 1\n", "PRINT 2", "PRINT 4", "PRINT 3\n", "PRINT 3\n"));
}

TEST_F(Capstan, ExecGoesOnAfterAFailedBatchUnlessToldToStop) {
  server_->Answer("bad", {ErrorMessage(102, "Incorrect syntax.")}, Ending::kFailed);
  server_->Answer("good", {Information("good")});
  const ProcessOptions script = {.standard_input = "bad\nGO\ngood\n"};

  const ProcessResult all = Run({"exec"}, script);
  const ProcessResult stopped = Run({"exec", "-b"}, script);

  EXPECT_EQ(all.exit_status, 1);
  EXPECT_EQ(all.out, "good\n");
  EXPECT_EQ(stopped.exit_status, 1);
  EXPECT_EQ(stopped.out, "");
}

TEST_F(Capstan, ExecSaysWhatItCannotReadOrSend) {
  EXPECT_THAT(Run({"exec", "--file", directory_.Under("none")}).error,
              HasSubstr("unable to open '" + directory_.Under("none") + "'"));
  const ProcessResult encoding = Run({"exec"}, {.standard_input = "PRINT '\xFC'"});
  EXPECT_EQ(encoding.exit_status, 1);
  EXPECT_THAT(encoding.error, HasSubstr("not UTF-8"));
  const std::string huge = directory_.Under("huge.sql");
  std::ofstream(huge) << "PRINT '" << std::string(1 << 20, 'x') << "'";
  EXPECT_THAT(Run({"exec", "--file", huge}).error, HasSubstr("more than 1048576"));
  EXPECT_THAT(server_->Requests(), IsEmpty());
}

TEST_F(Capstan, JsonOfAResultSetIsAllThatStandardOutputHolds) {
  server_->Answer("SELECT", {Information("Hello"), Columns({"a nvarchar", "b int"}),
                             Values({"\"\n\x1b", "5"}), Values({nullptr, nullptr})});

  const ProcessResult result = Run({"exec", "--json", "SELECT a"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_TRUE(IsJson(result.out)) << result.out;
  EXPECT_EQ(result.error, "Hello\n");
}

TEST_F(Capstan, BackupSendsOneStatement) {
  EXPECT_EQ(BatchOf({"backup",
                     "a]b",
                     "--to",
                     "/b/1.bak",
                     "--to",
                     "disk:/b/it's.bak",
                     "--init",
                     "--format",
                     "--copy-only",
                     "--checksum",
                     "--max-transfer-size",
                     "1M",
                     "--buffer-count",
                     "8",
                     "--block-size",
                     "4K",
                     "--stats",
                     "5",
                     "--no-verify",
                     "--name",
                     "n",
                     "--media-name",
                     "m",
                     "--description",
                     "d",
                     "--media-description",
                     "e"}),
            "BACKUP DATABASE [a]]b] TO DISK = N'/b/1.bak', DISK = N'/b/it''s.bak' WITH COPY_ONLY, "
            "FORMAT, INIT, NAME = N'n', DESCRIPTION = N'd', MEDIANAME = N'm', "
            "MEDIADESCRIPTION = N'e', CHECKSUM, BUFFERCOUNT = 8, MAXTRANSFERSIZE = 1048576, "
            "BLOCKSIZE = 4096, STATS = 5");
  EXPECT_EQ(server_->Requests().front().progress_interval_ms(), 250u);
}

TEST_F(Capstan, RelativePathsBecomeAbsolute) {
  EXPECT_EQ(BatchOf({"database", "add", "s", "sqlite:s.db"}),
            "EXEC sp_attach_db @dbname = N's', @filename1 = N'sqlite:" +
                (std::filesystem::current_path() / "s.db").string() + "'");
}

TEST_F(Capstan, RestoreSendsMoves) {
  EXPECT_EQ(BatchOf({"restore", "s", "--from", "vdi:V", "--replace", "--file", "2", "--move",
                     "d=/n/d.db", "--move", "l=/n/l.db", "--no-checksum", "--stats", "0"}),
            "RESTORE DATABASE [s] FROM VIRTUAL_DEVICE = N'V' WITH FILE = 2, MOVE N'd' TO "
            "N'/n/d.db', MOVE N'l' TO N'/n/l.db', REPLACE, NO_CHECKSUM");
}

TEST_F(Capstan, RestoreToAPathAsksForTheLogicalName) {
  server_->Answer("FILELISTONLY", {Columns({"LogicalName nvarchar(128)", "Type char(1)"}),
                                   Values({"it's data", "D"})});
  server_->Answer("RESTORE DATABASE", {Information("RESTORE DATABASE successfully processed")});

  const ProcessResult result =
      Run({"restore", "copy", "--from", "/b/s.bak", "--file", "2", "--to", "/n/copy.db"});

  EXPECT_EQ(result.exit_status, 0) << result.error;
  ASSERT_EQ(server_->Requests().size(), 2u);
  EXPECT_EQ(server_->Requests()[0].batch(),
            "RESTORE FILELISTONLY FROM DISK = N'/b/s.bak' WITH FILE = 2");
  EXPECT_THAT(server_->Requests()[1].batch(), HasSubstr("MOVE N'it''s data' TO N'/n/copy.db'"));
}

TEST_F(Capstan, RestoreToAPathRefusesSeveralFiles) {
  server_->Answer("FILELISTONLY",
                  {Columns({"LogicalName nvarchar(128)"}), Values({"a"}), Values({"b"})});

  const ProcessResult result = Run({"restore", "copy", "--from", "/b/s.bak", "--to", "/n/c.db"});

  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.error, HasSubstr("this one has 2: a, b"));
  EXPECT_EQ(server_->Requests().size(), 1u);
}

TEST_F(Capstan, VerifyDetachAndCancelSendTheirStatements) {
  server_->Answer("", {});

  EXPECT_EQ(Run({"verify", "--from", "s3://b/s.bak"}).exit_status, 0);
  EXPECT_EQ(Run({"database", "remove", "it's"}).exit_status, 0);
  EXPECT_EQ(Run({"cancel", "51"}).exit_status, 0);

  const std::vector<v1::ExecuteRequest> requests = server_->Requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].batch(), "RESTORE VERIFYONLY FROM URL = N's3://b/s.bak' WITH STATS = 10");
  EXPECT_EQ(requests[1].batch(), "EXEC sp_detach_db @dbname = N'it''s'");
  EXPECT_EQ(requests[2].batch(), "KILL 51");
}

// S0-42
TEST_F(Capstan, WritersAreListedAsVssadminDoes) {
  server_->Answer("sys.dm_backup_writers",
                  {Columns({"writer_name nvarchar", "writer_id uniqueidentifier",
                            "instance_id uniqueidentifier", "state int", "state_desc nvarchar",
                            "last_error nvarchar"}),
                   Values({"SqliteWriter", "{a65faa63-5ea8-4ebc-9dbd-a0c4db26912a}",
                           "{6be2bc11-5b53-4a4f-8a56-8f4d9e5e4b3c}", "1", "Stable", "No error"}),
                   Values({"PostgresWriter", "b65faa63-5ea8-4ebc-9dbd-a0c4db26912a",
                           "7be2bc11-5b53-4a4f-8a56-8f4d9e5e4b3c", "8", "Failed", nullptr})});

  const ProcessResult result = Run({"list", "writers"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out,
            "Writer name: 'SqliteWriter'\n"
            "   Writer Id: {a65faa63-5ea8-4ebc-9dbd-a0c4db26912a}\n"
            "   Writer Instance Id: {6be2bc11-5b53-4a4f-8a56-8f4d9e5e4b3c}\n"
            "   State: [1] Stable\n"
            "   Last error: No error\n"
            "\n"
            "Writer name: 'PostgresWriter'\n"
            "   Writer Id: {b65faa63-5ea8-4ebc-9dbd-a0c4db26912a}\n"
            "   Writer Instance Id: {7be2bc11-5b53-4a4f-8a56-8f4d9e5e4b3c}\n"
            "   State: [8] Failed\n"
            "   Last error: No error\n");
  EXPECT_TRUE(IsJson(Run({"list", "writers", "--json"}).out));
}

void ScriptTables(ScriptedRequester& server) {
  server.Answer("@@VERSION", {Columns({" nvarchar(300)"}), Values({"Capstan 0.1.0\nLinux"})});
  server.Answer(
      "sys.dm_backup_devices",
      {Columns({"session_id int", "device_name nvarchar", "target nvarchar", "agent nvarchar",
                "bytes bigint", "current_bytes_per_second bigint", "mean_bytes_per_second bigint",
                "in_flight int", "state nvarchar", "wait nvarchar", "errors int"}),
       Values({"51", "d1", "/b/a.bak", "disk", "1048576", "2097152", "1048576", "4", "writing",
               nullptr, "0"}),
       Columns({"session_id int", "command nvarchar", "database_name nvarchar",
                "percent_complete real", "phase nvarchar"}),
       Values({"51", "BACKUP DATABASE", "sales", "52.34", "Reading data"})});
  server.Answer("sys.dm_exec_requests",
                {Columns({"session_id int", "command nvarchar"}), Values({"51", "BACKUP"})});
  server.Answer("sys.dm_backup_agents",
                {Columns({"agent_name nvarchar", "pid int"}), Values({"disk", "77"})});
  server.Answer("sys.dm_backup_device_sets",
                {Columns({"set_name nvarchar", "state nvarchar"}), Values({"V", "waiting"})});
  server.Answer("sys.databases", {Columns({"name sysname"}), Values({"sales"})});
  server.Answer("sys.dm_backup_writers",
                {Columns({"writer_name nvarchar"}), Values({"SqliteWriter"})});
  server.Answer(
      "msdb.dbo.backupset",
      {Columns({"backup_set_id int", "media_set_id int", "database_name nvarchar", "type char(1)",
                "backup_start_date datetime", "backup_finish_date datetime", "backup_size bigint"}),
       Values({"1", "7", "sales", "D", "2026-11-21 09:00:00.000", "2026-11-21 09:00:02.000",
               "2097152"})});
  server.Answer("msdb.dbo.backupmediafamily",
                {Columns({"media_set_id int", "physical_device_name nvarchar"}),
                 Values({"7", "/b/1.bak"}), Values({"7", "/b/2.bak"})});
}

TEST_F(Capstan, EveryListIsATableOrJson) {
  ScriptTables(*server_);
  const std::vector<std::vector<std::string>> lists = {
      {"list", "databases"},   {"list", "agents"}, {"list", "devices"},
      {"list", "device-sets"}, {"list", "jobs"},   {"list", "writers"},
      {"database", "list"},    {"history"},        {"status"},
      {"top", "--once"}};
  for (std::vector<std::string> arguments : lists) {
    const ProcessResult table = Run(arguments);
    EXPECT_EQ(table.exit_status, 0) << arguments[0] << table.error;
    EXPECT_THAT(table.out, Not(StartsWith("["))) << table.out;
    arguments.emplace_back("--json");
    const ProcessResult json = Run(arguments);
    EXPECT_EQ(json.exit_status, 0) << json.error;
    EXPECT_TRUE(IsJson(json.out)) << json.out;
    EXPECT_EQ(json.error, "");
  }
}

// S0-52
TEST_F(Capstan, HistoryShowsDurationRateAndDevices) {
  ScriptTables(*server_);

  const ProcessResult result = Run({"history", "sales", "--limit", "3"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_THAT(result.out, HasSubstr("2026-11-21 09:00:02.000 sales    Full 2.0 MiB  2.000 s "
                                    "1.0 MiB/s /b/1.bak, /b/2.bak\n"));
  EXPECT_THAT(server_->Requests()[0].batch(), HasSubstr("SELECT TOP (3) "));
  EXPECT_THAT(server_->Requests()[0].batch(), HasSubstr("WHERE database_name = N'sales'"));
}

TEST_F(Capstan, StatusNamesServerAgentsJobsAndBackups) {
  ScriptTables(*server_);

  const ProcessResult result = Run({"status"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_THAT(result.out, StartsWith("Server:  unix:" + socket() +
                                     " (reachable)\nVersion: Capstan 0.1.0\n\nAgents:\n"));
  EXPECT_THAT(result.out, HasSubstr("Running jobs:\n"));
  EXPECT_THAT(result.out, HasSubstr("/b/1.bak, /b/2.bak"));
}

TEST_F(Capstan, TopOnceInAPipeIsPlainText) {
  ScriptTables(*server_);

  const ProcessResult result = Run({"top", "--once"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_THAT(result.out, HasSubstr("1 devices, 2.0 MiB/s\n"));
  EXPECT_THAT(result.out, HasSubstr("BACKUP DATABASE sales  52.3 %  Reading data"));
  EXPECT_THAT(result.out, HasSubstr("[####################]"));
  EXPECT_THAT(result.out, Not(HasSubstr("\x1b")));
}

TEST_F(Capstan, TopRefreshesUntilItIsInterrupted) {
  ScriptTables(*server_);
  Process top(CAPSTAN_BINARY, {"top"}, {.environment = {{"CAPSTAN_SERVER", socket()}}});
  ASSERT_TRUE(top.WaitForOutput("/b/a.bak"));

  while (server_->Requests().size() < 3) {
    std::this_thread::sleep_for(10ms);
  }
  top.Signal(SIGINT);

  EXPECT_EQ(top.Wait().exit_status, 0);
}

TEST_F(Capstan, ProgressInAPipeIsTheServersMessagesAndASummary) {
  server_->Answer("BACKUP",
                  {ProgressAt(10, 1 << 20, 10 << 20), Information("10 percent processed.", 3211),
                   ProgressAt(100, 10 << 20, 10 << 20)});

  const ProcessResult result = Run({"backup", "s", "--to", "/b/a.bak", "--no-verify"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out, "10 percent processed.\n/backup/a.bak (disk): 10.0 MiB, mean 10.0 MiB/s\n");
  EXPECT_EQ(result.error, "");
}

TEST_F(Capstan, ProgressOnATerminalIsRedrawnInPlace) {
  server_->Answer("BACKUP",
                  {ProgressAt(10, 1 << 20, 10 << 20), Information("10 percent processed.", 3211),
                   Information("Processed 10 pages."), ProgressAt(100, 10 << 20, 10 << 20)});

  const ProcessResult result = Run({"backup", "s", "--to", "/b/a.bak", "--no-verify"},
                                   {.terminal_columns = 90, .terminal_lines = 24});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_THAT(result.out, HasSubstr("]  10.0 %  "));
  EXPECT_THAT(result.out, HasSubstr("\r\x1b[2A"));  // back over a total and one device
  EXPECT_THAT(result.out, HasSubstr("Processed 10 pages."));
  EXPECT_THAT(result.out, Not(HasSubstr("percent processed")));
  EXPECT_THAT(result.out, HasSubstr("] 100.0 %  "));
}

}  // namespace
}  // namespace capstan::test
