#include "plugins/s3/medium_url.h"

#include <cerrno>

#include <gmock/gmock.h>

namespace capstan::s3 {
namespace {

TEST(MediumUrl, TakesNamesApart) {
  MediumUrl url;

  ASSERT_FALSE(MediumUrl::Parse("s3://backups/sales/full 1.bak", &url).failed());
  EXPECT_EQ(url.authority, "");
  EXPECT_EQ(url.bucket, "backups");
  EXPECT_EQ(url.key, "sales/full 1.bak");
  EXPECT_EQ(url.folder(), "sales/");
  EXPECT_EQ(url.leaf(), "full 1.bak");

  ASSERT_FALSE(MediumUrl::Parse("s3://rgw.example.com:7480/backups/a.bak", &url).failed());
  EXPECT_EQ(url.authority, "rgw.example.com:7480");
  EXPECT_EQ(url.bucket, "backups");
  EXPECT_EQ(url.folder(), "");
  EXPECT_EQ(url.leaf(), "a.bak");
}

TEST(MediumUrl, KeysAreBytes) {
  MediumUrl url;

  ASSERT_FALSE(MediumUrl::Parse("s3://backups//a/../b%20", &url).failed());
  EXPECT_EQ(url.key, "/a/../b%20");
}

TEST(MediumUrl, RefusesWhatIsNoMedium) {
  for (const char* const target :
       {"", "s3:", "s3://", "http://backups/a", "/backups/a", "s3://backups", "s3://backups/",
        "s3://backups/a/", "s3:///a", "s3://b/a", "s3://back ups/a", "s3://back?ups/a",
        "s3://host:port/backups/a", "s3://:7480/backups/a", "s3://host:7480/backups",
        "s3://user@host:7480/backups/a"}) {
    MediumUrl url;
    const Failure failure = MediumUrl::Parse(target, &url);
    EXPECT_EQ(failure.os_error, EINVAL) << target;
    EXPECT_THAT(failure.message, testing::HasSubstr(target));
  }
  MediumUrl url;
  EXPECT_TRUE(MediumUrl::Parse("s3://backups/" + std::string(900, 'x'), &url).failed());
}

TEST(UriEncoding, LeavesOnlyUnreservedCharacters) {
  std::string all;
  for (int c = 0; c < 256; ++c) {
    all += static_cast<char>(c);
  }

  EXPECT_EQ(EncodeUriPart("a-._~/ +%\xE4"), "a-._~%2F%20%2B%25%E4");
  EXPECT_EQ(EncodeUriPath("/a b/../c"), "/a%20b/../c");
  EXPECT_EQ(DecodeUri(EncodeUriPart(all)), all);
  EXPECT_EQ(DecodeUri("100%"), "100%");
  EXPECT_EQ(DecodeUri("%zz%4"), "%zz%4");
}

}  // namespace
}  // namespace capstan::s3
