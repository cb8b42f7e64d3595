#include "server/coordinator/password_hash.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::coordinator {
namespace {

using test::IsOk;

TEST(PasswordHash, KnowsItsPasswordAndNoOther) {
  const Result<PasswordHash> hash = HashPassword("secret");

  ASSERT_THAT(hash, IsOk());
  EXPECT_TRUE(IsPassword(*hash, "secret"));
  EXPECT_FALSE(IsPassword(*hash, "Secret"));
  EXPECT_FALSE(IsPassword(*hash, ""));
}

TEST(PasswordHash, SaltsEveryPasswordAnew) {
  EXPECT_NE(HashPassword("secret")->salt, HashPassword("secret")->salt);
}

// The key was computed by another implementation, so that files stay readable.
TEST(PasswordHash, IsScrypt) {
  PasswordHash hash{.cost = 16384, .block_size = 8, .parallelism = 1};
  const std::string salt = "SodiumChloride";  // shorter than ours: the rest stays zero
  std::copy(salt.begin(), salt.end(), hash.salt.begin());
  hash.key = {0xf7, 0xd2, 0xbd, 0x1b, 0xef, 0xac, 0x5a, 0x5b, 0xd9, 0x50, 0xe5,
              0x69, 0xaf, 0xa2, 0x33, 0xd0, 0x6a, 0xb5, 0x54, 0xe2, 0x5b, 0x45,
              0x1d, 0x40, 0x27, 0xf2, 0x14, 0x20, 0x13, 0xbe, 0xae, 0xa3};

  EXPECT_TRUE(IsPassword(hash, "pleaseletmein"));
  hash.key.back() ^= 1;
  EXPECT_FALSE(IsPassword(hash, "pleaseletmein"));
}

TEST(PasswordHash, MoreMemoryThanAllowedIsNeverARightPassword) {
  PasswordHash hash = *HashPassword("secret");
  hash.cost = 1U << 30;

  EXPECT_FALSE(IsPassword(hash, "secret"));
}

TEST(Proof, IsOfOnePasswordUnderOneKey) {
  const ProofKey key = *MakeProofKey();

  EXPECT_TRUE(SameProof(MakeProof(key, "a"), MakeProof(key, "a")));
  EXPECT_FALSE(SameProof(MakeProof(key, "a"), MakeProof(key, "b")));
  EXPECT_FALSE(SameProof(MakeProof(key, "a"), MakeProof(*MakeProofKey(), "a")));
  EXPECT_TRUE(SameProof(MakeProof(key, ""), MakeProof(key, "")));
}

}  // namespace
}  // namespace capstan::coordinator
