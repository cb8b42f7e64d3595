// How the built `capstan` ends when something is in the way: Ctrl-C, no server, a server that dies
// or freezes, wrong usage, an output that takes nothing. Each has its exit status and its words.
#include <csignal>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/e2e/tools/capstan_fixture.h"
#include "vdi/base/unique_fd.h"

namespace capstan::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

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
  const std::string fifo = directory_.Under("fifo");
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
  const std::string nowhere = directory_.Under("none.sock");

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
  const std::string address = directory_.Under("dying.sock");
  Process server(SCRIPTED_REQUESTER_BINARY, {address, "dies"});
  ASSERT_TRUE(server.WaitForOutput("ready"));

  const ProcessResult result = RunCapstan({"--server", address, "backup", "s", "--to", "/b/a"});

  EXPECT_EQ(result.exit_status, 3);
  EXPECT_THAT(result.error,
              HasSubstr("lost the connection to capstand at " + address + " in mid-statement"));
  EXPECT_LT(result.duration, 5s);
}

TEST_F(Capstan, AServerThatFreezesInMidStatementIsNoticedByKeepalive) {
  const std::string address = directory_.Under("freezing.sock");
  Process server(SCRIPTED_REQUESTER_BINARY, {address, "freezes"});
  ASSERT_TRUE(server.WaitForOutput("ready"));

  const ProcessResult result = RunCapstan({"--server", address, "backup", "s", "--to", "/b/a"});

  EXPECT_EQ(result.exit_status, 3);
  EXPECT_THAT(result.error, HasSubstr("in mid-statement"));
  EXPECT_LT(result.duration, 15s);
}

TEST_F(Capstan, AServerThatNeverAnswersTheConnectionIsGivenUp) {
  const std::string address = directory_.Under("frozen.sock");
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
      {"backup", "s", "--to", "/b", "--compression=gzip"},
      {"backup", "s", "--to", "/b", "--compression=zstd", "--no-compression"},
      {"backup", "s", "--to", "/b/{day}.bak"},
      {"backup", "s", "--to", "/a", "--to", "/b", "--mirror", "/c"},
      {"backup", "s", "--to", "/b", "--passphrase-file", "/k", "--passphrase-env", "K"},
      {"backup", "s", "--to", "/b", "--encrypt-certificate", "c", "--passphrase-env", "K"},
      {"restore", "s"},
      {"restore", "s", "--from", "/b", "--latest"},
      {"verify", "--from", "/b", "--sample", "101"},
      {"certificate", "add", "c", "--key", "/k"},
      {"certificate", "export", "c"},
      {"catalog", "rebuild"},
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

TEST_F(Capstan, UnknownCommandsAreNamedAndKnownOnesListed) {
  const ProcessResult unknown = Run({"frobnicate", "x", "-y"});
  EXPECT_EQ(unknown.exit_status, 2);
  EXPECT_THAT(unknown.error,
              StartsWith("capstan: 'frobnicate' is no command\nHINT: commands are "));
  EXPECT_THAT(unknown.error, HasSubstr(" backup, backup-log, restore, "));
  EXPECT_EQ(Run({"database", "ad", "x"}).error,
            "capstan: 'ad' is no command of 'database'\n"
            "HINT: commands are add, set, discover, list, remove; --help tells more\n");
  EXPECT_THAT(Run({"media"}).error, StartsWith("capstan: a command of 'media' is missing\n"));
  EXPECT_THAT(Run({"--frob"}).error, StartsWith("capstan: '--frob' is no option\n"));
}

TEST_F(Capstan, HelpAndVersionNeedNoServer) {
  EXPECT_EQ(RunCapstan({"--version"}).out, "capstan " CAPSTAN_VERSION "\n");
  for (const char* const command : {"exec", "database", "backup", "restore", "verify", "history",
                                    "list", "top", "cancel", "status", "certificate", "catalog"}) {
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
