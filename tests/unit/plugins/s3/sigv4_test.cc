// The examples that AWS publishes: those of the S3 documentation ("Authenticating Requests: Using
// the Authorization Header") and those of its Signature Version 4 test suite.
#include "plugins/s3/sigv4.h"

#include <gmock/gmock.h>

#include "plugins/s3/digest.h"
#include "plugins/s3/medium_url.h"

namespace capstan::s3 {
namespace {

const Credentials kS3Example = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
const SigningScope kS3Scope = {.region = "us-east-1", .timestamp = "20130524T000000Z"};
const std::string kEmptyHash = HexOf(Sha256(""));

std::vector<NameValue> S3Headers(std::vector<NameValue> more, const std::string& payload_hash) {
  more.insert(more.end(), {{"Host", "examplebucket.s3.amazonaws.com"},
                           {"x-amz-content-sha256", payload_hash},
                           {"x-amz-date", kS3Scope.timestamp}});
  return more;
}

TEST(SigV4, SignsTheExamplesOfTheS3Documentation) {
  const std::string put_hash = HexOf(Sha256("Welcome to Amazon S3."));
  const struct {
    SignedRequest request;
    const char* signature;
  } examples[] = {
      {{"GET", "/test.txt", {}, S3Headers({{"Range", "bytes=0-9"}}, kEmptyHash), kEmptyHash},
       "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
      {{"PUT",
        "/test$file.text",
        {},
        S3Headers({{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                   {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                  put_hash),
        put_hash},
       "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
      {{"GET", "/", {{"lifecycle", ""}}, S3Headers({}, kEmptyHash), kEmptyHash},
       "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
      {{"GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, S3Headers({}, kEmptyHash), kEmptyHash},
       "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
  };
  for (const auto& example : examples) {
    EXPECT_EQ(SignatureOf(example.request, kS3Scope, kS3Example), example.signature)
        << CanonicalRequestOf(example.request);
  }
}

TEST(SigV4, SignsTheExamplesOfTheTestSuite) {
  const Credentials credentials = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
  const SigningScope scope = {"us-east-1", "service", "20150830T123600Z"};
  const std::vector<NameValue> plain = {{"Host", "example.amazonaws.com"},
                                        {"X-Amz-Date", scope.timestamp}};
  const auto with = [&](std::vector<NameValue> more) {
    more.insert(more.begin(), plain.begin(), plain.end());
    return more;
  };
  const struct {
    const char* name;
    SignedRequest request;
    const char* signature;
  } examples[] = {
      {"get-vanilla",
       {"GET", "/", {}, plain, kEmptyHash},
       "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
      {"get-vanilla-query-order-key-case",
       {"GET", "/", {{"Param2", "value2"}, {"Param1", "value1"}}, plain, kEmptyHash},
       "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
      {"get-unreserved",
       {"GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        {},
        plain,
        kEmptyHash},
       "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
      {"get-utf8",
       {"GET", "/\xE1\x88\xB4", {}, plain, kEmptyHash},
       "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
      {"get-header-key-duplicate",
       {"GET",
        "/",
        {},
        with({{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}}),
        kEmptyHash},
       "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
      {"get-header-value-trim",
       {"GET",
        "/",
        {},
        with({{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}}),
        kEmptyHash},
       "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
      {"post-vanilla",
       {"POST", "/", {}, plain, kEmptyHash},
       "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
      {"post-x-www-form-urlencoded",
       {"POST",
        "/",
        {},
        with({{"Content-Type", "application/x-www-form-urlencoded"}}),
        HexOf(Sha256("Param1=value1"))},
       "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
  };
  for (const auto& example : examples) {
    EXPECT_EQ(SignatureOf(example.request, scope, credentials), example.signature)
        << example.name << "\n"
        << CanonicalRequestOf(example.request);
  }
}

TEST(SigV4, AuthorizationNamesWhatIsSigned) {
  const SignedRequest request = {
      "GET", "/test.txt", {}, S3Headers({{"Range", "bytes=0-9"}}, kEmptyHash), kEmptyHash};

  EXPECT_EQ(AuthorizationOf(request, kS3Scope, kS3Example),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(SigV4, QueryIsSortedAndEncoded) {
  EXPECT_EQ(QueryText({}), "");
  EXPECT_EQ(QueryText({{"uploads", ""}}), "uploads=");
  EXPECT_EQ(QueryText({{"b", "x y+/%"}, {"a-b", "1"}, {"a", "\xC3\xBC"}}),
            "a=%C3%BC&a-b=1&b=x%20y%2B%2F%25");
}

TEST(SigV4, TimestampIsUtc) {
  EXPECT_EQ(TimestampOf(std::chrono::system_clock::time_point(std::chrono::seconds(1369353600))),
            "20130524T000000Z");
}

TEST(Digest, GivesTheKnownValues) {
  const std::string text = "abc";

  EXPECT_EQ(HexOf(Md5(std::as_bytes(std::span(text)))), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(Base64Of(Md5(std::as_bytes(std::span(text)))), "kAFQmDzST7DWlj99KOF/cg==");
  EXPECT_EQ(HexOf(Sha256(text)),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace capstan::s3
