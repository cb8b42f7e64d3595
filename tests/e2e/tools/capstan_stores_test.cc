// certificate and catalog: which statements they send.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/tools/capstan_fixture.h"

namespace capstan::test {
namespace {

using testing::HasSubstr;

TEST_F(Capstan, CertificatesAreMadeImportedExportedAndRemoved) {
  server_->Answer("", {});
  const std::string passphrase = directory_.Under("passphrase");
  std::ofstream(passphrase) << "it's secret\nnot this\n";

  EXPECT_EQ(Run({"certificate", "add", "a]"}).exit_status, 0);
  EXPECT_EQ(Run({"certificate", "add", "b", "--subject", "Bob's"}).exit_status, 0);
  EXPECT_EQ(Run({"certificate", "add", "c", "--from", "/c.crt", "--key", "/c.key",
                 "--key-passphrase-file", passphrase})
                .exit_status,
            0);
  EXPECT_EQ(Run({"certificate", "export", "c", "--to", "/d.crt", "--key", "/d.key"}).exit_status,
            0);
  EXPECT_EQ(Run({"certificate", "remove", "c"}).exit_status, 0);

  std::vector<std::string> batches;
  for (const v1::ExecuteRequest& request : server_->Requests()) {
    batches.push_back(request.batch());
  }
  EXPECT_THAT(
      batches,
      testing::ElementsAre(
          "CREATE CERTIFICATE [a]]] WITH SUBJECT = N'a]'",
          "CREATE CERTIFICATE [b] WITH SUBJECT = N'Bob''s'",
          "CREATE CERTIFICATE [c] FROM FILE = N'/c.crt' WITH PRIVATE KEY (FILE = N'/c.key', "
          "DECRYPTION BY PASSWORD = N'it''s secret')",
          "BACKUP CERTIFICATE [c] TO FILE = N'/d.crt' WITH PRIVATE KEY (FILE = N'/d.key')",
          "DROP CERTIFICATE [c]"));
}

TEST_F(Capstan, CatalogRebuildCountsAndFailsOnWhatCannotBeRead) {
  server_->Answer("sp_load_history",
                  {Columns({"path nvarchar(260)", "status nvarchar(60)", "sets_added int"}),
                   Values({"/b/1", "loaded", "2"}), Values({"/b/2", "known", "0"}),
                   Values({"/b/3", "damaged", "0"})});

  const ProcessResult result = Run({"catalog", "rebuild", "/b", "/it's"});

  EXPECT_EQ(result.exit_status, 1);
  EXPECT_EQ(server_->OnlyBatch(), "EXEC sp_load_history N'/b', N'/it''s'");
  EXPECT_THAT(result.out,
              HasSubstr("3 media, 1 of them not readable, gave the history 2 more backup sets.\n"));
}

// A shell's *.bak may be more than one statement takes.
TEST_F(Capstan, CatalogRebuildTakesAnyNumberOfPaths) {
  server_->Answer("sp_load_history",
                  {Columns({"path nvarchar(260)", "status nvarchar(60)", "sets_added int"}),
                   Values({"/b/1", "loaded", "2"})});
  std::vector<std::string> arguments = {"catalog", "rebuild"};
  for (int i = 1; i <= 40; ++i) {
    arguments.push_back("/b/" + std::to_string(i));
  }

  const ProcessResult result = Run(arguments);

  EXPECT_EQ(result.exit_status, 0) << result.error;
  ASSERT_EQ(server_->Requests().size(), 3U);
  EXPECT_THAT(server_->Requests()[2].batch(), HasSubstr("N'/b/33', N'/b/34'"));
  EXPECT_THAT(result.out,
              HasSubstr("3 media, 0 of them not readable, gave the history 6 more backup sets.\n"));
}

}  // namespace
}  // namespace capstan::test
