#include "server/coordinator/login_store.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::MessageHas;

class LoginStoreTest : public testing::Test {
 protected:
  std::string path() const { return directory_.Under("logins"); }
  std::unique_ptr<LoginStore> Open() {
    auto store = LoginStore::Open(path());
    EXPECT_THAT(store, IsOk());
    return store.ok() ? *std::move(store) : nullptr;
  }
  std::string FileText() const {
    std::ifstream file(path());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void WriteFile(const std::string& text) const {
    std::ofstream(path()) << text;
    std::filesystem::permissions(path(), std::filesystem::perms(0600));
  }

  test::TemporaryDirectory directory_;
};

TEST_F(LoginStoreTest, KeepsLoginsAcrossRestartsAndNotTheirPasswords) {
  ASSERT_THAT(Open()->Add("Backup Operator", "correct horse"), IsOk());

  const auto store = Open();

  ASSERT_EQ(store->List().size(), 1U);
  EXPECT_EQ(store->List()[0].name, "Backup Operator");
  EXPECT_EQ(store->Check("backup operator", "correct horse"), Verdict::kRight);
  EXPECT_EQ(store->Check("Backup Operator", "Correct horse"), Verdict::kWrongPassword);
  EXPECT_EQ(store->Check("nobody", "correct horse"), Verdict::kNoSuchLogin);
  EXPECT_EQ(FileText().find("correct horse"), std::string::npos);
  struct stat status {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(LoginStoreTest, RemembersAProvedPasswordUntilItChanges) {
  const auto store = Open();
  ASSERT_THAT(store->Add("sa", "one"), IsOk());
  EXPECT_FALSE(store->WasProved("sa", "one"));

  ASSERT_EQ(store->Check("sa", "one"), Verdict::kRight);
  EXPECT_TRUE(store->WasProved("SA", "one"));
  EXPECT_FALSE(store->WasProved("sa", "two"));
  EXPECT_FALSE(store->WasProved("other", "one"));

  ASSERT_THAT(store->ChangePassword("sa", "two"), IsOk());
  EXPECT_FALSE(store->WasProved("sa", "one"));
  EXPECT_EQ(store->Check("sa", "one"), Verdict::kWrongPassword);
  EXPECT_EQ(store->Check("sa", "two"), Verdict::kRight);
}

TEST_F(LoginStoreTest, RemovesLoginsForGood) {
  const auto store = Open();
  ASSERT_THAT(store->Add("a", "1"), IsOk());
  ASSERT_THAT(store->Add("b", "2"), IsOk());
  ASSERT_EQ(store->Check("a", "1"), Verdict::kRight);

  ASSERT_THAT(store->Remove("A"), IsOk());

  EXPECT_FALSE(store->WasProved("a", "1"));
  EXPECT_EQ(store->Check("a", "1"), Verdict::kNoSuchLogin);
  EXPECT_EQ(Open()->List().size(), 1U);
}

TEST_F(LoginStoreTest, RefusesInSqlServersWords) {
  const auto store = Open();
  ASSERT_THAT(store->Add("sa", "x"), IsOk());

  EXPECT_THAT(store->Add("SA", "y"), HasReason(15025));
  EXPECT_THAT(store->Add("b", ""), HasReason(15116));
  EXPECT_THAT(store->Add("b", std::string(129, 'x')), HasReason(15117));
  EXPECT_THAT(store->Add("b\nc", "x"), HasReason(15006));
  EXPECT_THAT(store->Add("", "x"), HasReason(1038));
  EXPECT_THAT(store->ChangePassword("b", "x"), HasReason(15151));
  EXPECT_THAT(store->ChangePassword("sa", ""), HasReason(15116));
  EXPECT_THAT(store->Remove("b"), MessageHas("Cannot drop the login 'b', because it does not "
                                             "exist or you do not have permission."));
  EXPECT_EQ(store->List().size(), 1U);
}

TEST_F(LoginStoreTest, AChangeThatCannotBeWrittenDidNotHappen) {
  const auto store = Open();
  ASSERT_THAT(store->Add("sa", "x"), IsOk());
  // A folder that is not empty in the place of the new file.
  std::filesystem::create_directories(path() + ".new/sub");

  EXPECT_FALSE(store->Add("b", "y").ok());
  EXPECT_FALSE(store->Remove("sa").ok());

  EXPECT_EQ(store->List().size(), 1U);
  EXPECT_EQ(Open()->List().size(), 1U);
}

TEST_F(LoginStoreTest, RefusesAFileThatOthersMayRead) {
  ASSERT_THAT(Open()->Add("sa", "x"), IsOk());
  std::filesystem::permissions(path(), std::filesystem::perms(0640));

  EXPECT_THAT(LoginStore::Open(path()), HasCode(Code::kPermissionDenied));
}

TEST_F(LoginStoreTest, RefusesEveryPrefixOfItsFile) {
  ASSERT_THAT(Open()->Add("sa", "x"), IsOk());
  const std::string whole = FileText();
  const std::size_t first_line = whole.find('\n') + 1;

  for (std::size_t size = 1; size < whole.size(); ++size) {
    WriteFile(whole.substr(0, size));
    if (size == first_line) {
      EXPECT_THAT(LoginStore::Open(path()), IsOk());  // a file without logins
    } else {
      EXPECT_THAT(LoginStore::Open(path()), HasCode(Code::kDataLoss)) << size;
    }
  }
}

TEST_F(LoginStoreTest, NamesTheDamagedLine) {
  WriteFile("capstan-logins 1\nscrypt 1 2 3 zz yy 0 0 sa\n");
  EXPECT_THAT(LoginStore::Open(path()), MessageHas("damaged in line 2"));
  WriteFile("capstan-logins 2\n");
  EXPECT_THAT(LoginStore::Open(path()), MessageHas("damaged in line 1"));
}

}  // namespace
}  // namespace capstan::coordinator
