#include "server/coordinator/credential_store.h"

#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using testing::HasSubstr;

constexpr const char* kIdentity = "S3 Access Key";

class CredentialStoreTest : public testing::Test {
 protected:
  std::string Contents() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  test::TemporaryDirectory directory_;
  const std::string path_ = directory_.Under("credentials.toml");
  CredentialStore store_{path_};
};

TEST_F(CredentialStoreTest, AddsChangesAndRemoves) {
  EXPECT_THAT(store_.Add("s3://a", kIdentity, "id:first"), IsOk());
  EXPECT_THAT(store_.Add("s3://b", "s3 access key", "id:second \"quoted\""), IsOk());
  EXPECT_THAT(Contents(), HasSubstr("id:first"));
  EXPECT_THAT(Contents(), HasSubstr("s3://b"));

  EXPECT_THAT(CredentialStore(path_).Change("s3://a", kIdentity, "id:third"), IsOk());
  EXPECT_THAT(Contents(), testing::Not(HasSubstr("first")));
  EXPECT_THAT(Contents(), HasSubstr("id:third"));

  EXPECT_THAT(store_.Remove("s3://a"), IsOk());
  EXPECT_THAT(Contents(), testing::Not(HasSubstr("s3://a")));
  EXPECT_THAT(Contents(), HasSubstr("s3://b"));
}

TEST_F(CredentialStoreTest, OnlyItsOwnerMayReadTheFile) {
  ASSERT_THAT(store_.Add("s3://a", kIdentity, "id:secret"), IsOk());
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);

  ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
  EXPECT_THAT(store_.Add("s3://b", kIdentity, "id:secret"), HasCode(Code::kPermissionDenied));
}

TEST_F(CredentialStoreTest, RefusesInSqlServersWords) {
  ASSERT_THAT(store_.Add("s3://a", kIdentity, "id:secret"), IsOk());

  EXPECT_THAT(store_.Add("s3://a", kIdentity, "id:other"), HasReason(15530));
  EXPECT_THAT(store_.Change("s3://none", kIdentity, "id:other"), HasReason(15151));
  EXPECT_THAT(store_.Remove("s3://none"), HasReason(15151));
  EXPECT_THAT(store_.Add("https://a", kIdentity, "id:secret"), HasReason(65030));
  EXPECT_THAT(store_.Add("s3://", kIdentity, "id:secret"), HasReason(65030));
  EXPECT_THAT(store_.Add("s3://b", "SHARED ACCESS SIGNATURE", "id:secret"), HasReason(65030));
  for (const char* const secret : {"", "topsecret", ":topsecret", "topsecret:"}) {
    const Status refused = store_.Add("s3://b", kIdentity, secret);
    EXPECT_THAT(refused, HasReason(65030));
    EXPECT_EQ(refused.message().find("topsecret"), std::string_view::npos);
  }
}

TEST_F(CredentialStoreTest, DamagedFileIsSaidToBeSoAndStays) {
  std::ofstream(path_) << "[[credential\n";
  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);

  EXPECT_THAT(store_.Add("s3://a", kIdentity, "id:secret"), HasCode(Code::kDataLoss));

  EXPECT_EQ(Contents(), "[[credential\n");
}

}  // namespace
}  // namespace capstan::coordinator
