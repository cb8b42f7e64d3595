// The built `capstan` against a scripted server: what is sent, what is printed where, and the exit
// status. What it cannot show: that the real server understands the statements.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/e2e/tools/capstan_process.h"
#include "tests/support/scripted_requester.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class Capstan : public testing::Test {
 protected:
  Capstan() {
    std::string pattern = (std::filesystem::temp_directory_path() / "capstan_e2e.XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    server_ = std::make_unique<ScriptedRequester>("unix:" + socket());
  }
  ~Capstan() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  std::string socket() const { return directory_ / "capstand.sock"; }

  ProcessResult Run(std::vector<std::string> arguments, ProcessOptions options = {}) {
    options.environment.emplace_back("CAPSTAN_SERVER", "unix:" + socket());
    return RunCapstan(std::move(arguments), std::move(options));
  }

  // The batch that `arguments` send.
  std::string BatchOf(const std::vector<std::string>& arguments) {
    server_->Answer("", {});
    const ProcessResult result = Run(arguments);
    EXPECT_EQ(result.exit_status, 0) << result.error;
    return server_->OnlyBatch();
  }

  std::filesystem::path directory_;
  std::unique_ptr<ScriptedRequester> server_;
};

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
  const std::filesystem::path script = directory_ / "s.sql";
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
  EXPECT_THAT(Run({"exec", "--file", directory_ / "none"}).error,
              HasSubstr("unable to open '" + (directory_ / "none").string() + "'"));
  const ProcessResult encoding = Run({"exec"}, {.standard_input = "PRINT '\xFC'"});
  EXPECT_EQ(encoding.exit_status, 1);
  EXPECT_THAT(encoding.error, HasSubstr("not UTF-8"));
  const std::filesystem::path huge = directory_ / "huge.sql";
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

  const ProcessResult result = Run({"backup", "s", "--to", "/b/a.bak"});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out, "10 percent processed.\n/backup/a.bak (disk): 10.0 MiB, mean 10.0 MiB/s\n");
  EXPECT_EQ(result.error, "");
}

TEST_F(Capstan, ProgressOnATerminalIsRedrawnInPlace) {
  server_->Answer("BACKUP",
                  {ProgressAt(10, 1 << 20, 10 << 20), Information("10 percent processed.", 3211),
                   Information("Processed 10 pages."), ProgressAt(100, 10 << 20, 10 << 20)});

  const ProcessResult result =
      Run({"backup", "s", "--to", "/b/a.bak"}, {.terminal_columns = 90, .terminal_lines = 24});

  EXPECT_EQ(result.exit_status, 0);
  EXPECT_THAT(result.out, HasSubstr("]  10.0 %  "));
  EXPECT_THAT(result.out, HasSubstr("\r\x1b[2A"));  // back over a total and one device
  EXPECT_THAT(result.out, HasSubstr("Processed 10 pages."));
  EXPECT_THAT(result.out, Not(HasSubstr("percent processed")));
  EXPECT_THAT(result.out, HasSubstr("] 100.0 %  "));
}

TEST_F(Capstan, CtrlCCancelsTheCallAndSaysSo) {
  server_->Answer("BACKUP", {Information("10 percent processed.", 3211)}, Ending::kHangs);
  Process backup(CAPSTAN_BINARY, {"backup", "s", "--to", "/b/a.bak"},
                 {.environment = {{"CAPSTAN_SERVER", socket()}}});
  ASSERT_TRUE(server_->WaitForHanging(20s));
  ASSERT_TRUE(backup.WaitForOutput("10 percent"));

  backup.Signal(SIGINT);
  const ProcessResult result = backup.Wait();

  EXPECT_EQ(result.exit_status, 1);
  EXPECT_EQ(result.error, "capstan: the statement was cancelled\n");
  EXPECT_TRUE(server_->WaitForCancelled(20s));
}

TEST_F(Capstan, CtrlCWhileReadingAScriptLeavesAtOnce) {
  const std::filesystem::path fifo = directory_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  Process exec(CAPSTAN_BINARY, {"exec", "--file", fifo},
               {.environment = {{"CAPSTAN_SERVER", socket()}}});
  // Opens once the program has opened its end, which it does long after it blocks the signal.
  const UniqueFd writer(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(writer.valid());

  exec.Signal(SIGINT);

  EXPECT_EQ(exec.Wait().exit_status, 128 + SIGINT);
}

TEST_F(Capstan, NoServerIsExitStatusThreeWithAWayOut) {
  const std::string nowhere = directory_ / "none.sock";

  const ProcessResult result = RunCapstan({"--server", "unix:" + nowhere, "status"});

  EXPECT_EQ(result.exit_status, 3);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.error, StartsWith("capstan: unable to reach capstand at unix:" + nowhere +
                                       ": No such file or directory\nHINT: start the server"));
  EXPECT_LT(result.duration, 5s);
}

TEST_F(Capstan, ASocketThatNobodyServesIsRefused) {
  server_.reset();
  Process server(SCRIPTED_REQUESTER_BINARY, {socket(), "dies"});
  ASSERT_TRUE(server.WaitForOutput("ready"));
  server.Signal(SIGKILL);
  EXPECT_EQ(server.Wait().exit_status, 128 + SIGKILL);

  const ProcessResult result = Run({"exec", "PRINT 1"});

  EXPECT_EQ(result.exit_status, 3);
  EXPECT_THAT(result.error, HasSubstr("Connection refused"));
}

TEST_F(Capstan, ATcpAddressWorksAndItsAbsenceIsToldToo) {
  ScriptedRequester tcp("127.0.0.1:0");
  tcp.Answer("PRINT", {Information("1")});
  const std::string address = "127.0.0.1:" + std::to_string(tcp.port());

  EXPECT_EQ(RunCapstan({"exec", "PRINT 1", "--server", address}).out, "1\n");
  const ProcessResult refused = RunCapstan({"--server", "127.0.0.1:1", "exec", "PRINT 1"});
  EXPECT_EQ(refused.exit_status, 3);
  EXPECT_THAT(refused.error,
              StartsWith("capstan: unable to reach capstand at 127.0.0.1:1: Connection refused\n"));
}

TEST_F(Capstan, AServerThatDiesInMidStatementIsExitStatusThree) {
  const std::string address = directory_ / "dying.sock";
  Process server(SCRIPTED_REQUESTER_BINARY, {address, "dies"});
  ASSERT_TRUE(server.WaitForOutput("ready"));

  const ProcessResult result = RunCapstan({"--server", address, "backup", "s", "--to", "/b/a"});

  EXPECT_EQ(result.exit_status, 3);
  EXPECT_THAT(result.error,
              HasSubstr("lost the connection to capstand at " + address + " in mid-statement"));
  EXPECT_LT(result.duration, 5s);
}

TEST_F(Capstan, AServerThatFreezesInMidStatementIsNoticedByKeepalive) {
  const std::string address = directory_ / "freezing.sock";
  Process server(SCRIPTED_REQUESTER_BINARY, {address, "freezes"});
  ASSERT_TRUE(server.WaitForOutput("ready"));

  const ProcessResult result = RunCapstan({"--server", address, "backup", "s", "--to", "/b/a"});

  EXPECT_EQ(result.exit_status, 3);
  EXPECT_THAT(result.error, HasSubstr("in mid-statement"));
  EXPECT_LT(result.duration, 15s);
}

TEST_F(Capstan, AServerThatNeverAnswersTheConnectionIsGivenUp) {
  const std::string address = directory_ / "frozen.sock";
  Process server(SCRIPTED_REQUESTER_BINARY, {address, "freezes"});
  ASSERT_TRUE(server.WaitForOutput("ready"));
  server.Signal(SIGSTOP);

  const ProcessResult result = RunCapstan({"--server", address, "status"});

  EXPECT_EQ(result.exit_status, 3);
  EXPECT_THAT(result.error, HasSubstr("no answer within 5 s"));
  EXPECT_LT(result.duration, 10s);
}

TEST_F(Capstan, AStreamThatEndsOddlyIsAFailure) {
  server_->Answer("no done", {Information("x")}, Ending::kNoDone);
  server_->Answer("stopping", {}, Ending::kStopping);
  server_->Answer("row first", {Values({"1"})});

  const ProcessResult no_done = Run({"exec", "no done"});
  EXPECT_EQ(no_done.exit_status, 1);
  EXPECT_THAT(no_done.error, HasSubstr("without saying how"));
  const ProcessResult stopping = Run({"exec", "stopping"});
  EXPECT_EQ(stopping.exit_status, 3);
  EXPECT_THAT(stopping.error, HasSubstr("the server is stopping"));
  const ProcessResult row_first = Run({"exec", "row first"});
  EXPECT_EQ(row_first.exit_status, 1);
  EXPECT_THAT(row_first.error, HasSubstr("row of 1 values for 0 columns"));
}

TEST_F(Capstan, UsageErrorsAreExitStatusTwoAndReachNoServer) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"frobnicate"},
      {"backup", "s"},
      {"backup", "s", "--to", "tape:"},
      {"backup", "s", "--to", "/b", "--max-transfer-size", "1X"},
      {"backup", "s", "--to", "/b", "--checksum", "--no-checksum"},
      {"backup", "s", "--to", "/a", "/b"},
      {"restore", "s", "--from", "/b", "--move", "x"},
      {"restore", "s", "--from", "/b", "--move", "x=/y", "--to", "/z"},
      {"restore", "s", "--from", "/b", "--file", "0"},
      {"database", "add", "s", "/srv/s.db"},
      {"database"},
      {"list"},
      {"cancel", "x"},
      {"history", "--limit", "0"},
      {"exec", "PRINT 1", "--file", "x"},
      {"--server", "nowhere", "status"}};
  for (const std::vector<std::string>& arguments : wrong) {
    const ProcessResult result = Run(arguments);
    EXPECT_EQ(result.exit_status, 2) << testing::PrintToString(arguments);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.error, StartsWith("capstan: "));
  }
  EXPECT_THAT(server_->Requests(), IsEmpty());
}

TEST_F(Capstan, HelpAndVersionNeedNoServer) {
  EXPECT_EQ(RunCapstan({"--version"}).out, "capstan " CAPSTAN_VERSION "\n");
  for (const char* const command : {"exec", "database", "backup", "restore", "verify", "history",
                                    "list", "top", "cancel", "status"}) {
    const ProcessResult help = RunCapstan({command, "--help"});
    EXPECT_EQ(help.exit_status, 0);
    EXPECT_THAT(help.out, HasSubstr("Usage: capstan " + std::string(command)));
    EXPECT_EQ(help.error, "");
  }
}

TEST_F(Capstan, OutputThatCannotBeWrittenIsAFailure) {
  server_->Answer("PRINT", {Information("x")});

  const ProcessResult result =
      Process("/bin/sh", {"-c", "exec \"$0\" --server \"$1\" exec 'PRINT 1' >/dev/full",
                          CAPSTAN_BINARY, socket()})
          .Wait();

  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.error, HasSubstr("unable to write"));
}

}  // namespace
}  // namespace capstan::test
