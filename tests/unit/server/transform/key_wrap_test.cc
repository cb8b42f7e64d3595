#include "server/transform/key_wrap.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_certificates.h"

namespace capstan::transform {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

SecretBytes Passphrase(std::string_view text) {
  return SecretBytes(std::as_bytes(std::span(text)));
}

bool Same(const SetKey& a, const SetKey& b) {
  return std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin(), b.bytes().end());
}

SetKey NewKey() {
  auto key = MakeSetKey();
  EXPECT_THAT(key, IsOk());
  return std::move(key).value();
}

TEST(SetKey, IsNeverTheSame) {
  EXPECT_FALSE(Same(NewKey(), NewKey()));
}

TEST(KeyWrap, OpensUnderItsPassphraseOnly) {
  const SetKey key = NewKey();
  const auto wrapped = WrapKey(key, Passphrase("correct horse"));
  ASSERT_THAT(wrapped, IsOk());

  const auto back = UnwrapKey(wrapped->bytes, Passphrase("correct horse"));

  ASSERT_THAT(back, IsOk());
  EXPECT_TRUE(Same(*back, key));
  EXPECT_EQ(wrapped->thumbprint.size(), 20U);
  EXPECT_THAT(UnwrapKey(wrapped->bytes, Passphrase("Correct horse")),
              HasCode(Code::kUnauthenticated));
  // Two wraps of one key under one passphrase have nothing in common.
  const auto again = WrapKey(key, Passphrase("correct horse"));
  ASSERT_THAT(again, IsOk());
  EXPECT_NE(again->thumbprint, wrapped->thumbprint);
}

TEST(KeyWrap, FindsAFlippedByteInAnyFieldOfAPassphrasesWrap) {
  const auto wrapped = WrapKey(NewKey(), Passphrase("pw"));
  ASSERT_THAT(wrapped, IsOk());
  // Deriving the key takes its time: of each field one byte, but for the sizes.
  for (std::size_t i = 0; i < wrapped->bytes.size(); i += i < 16 ? 1 : 19) {
    std::string bad = wrapped->bytes;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    const auto key = UnwrapKey(bad, Passphrase("pw"));
    ASSERT_FALSE(key.ok()) << "byte " << i;
  }
  EXPECT_THAT(UnwrapKey(wrapped->bytes.substr(0, 91), Passphrase("pw")), HasCode(Code::kDataLoss));
  EXPECT_THAT(UnwrapKey("", Passphrase("pw")), HasCode(Code::kDataLoss));
}

TEST(KeyWrap, TakesNoMoreMemoryThanItPromisesOnAMediumsWord) {
  auto wrapped = WrapKey(NewKey(), Passphrase("pw"));
  ASSERT_THAT(wrapped, IsOk());
  for (const std::uint32_t cost : {0U, 1U, 3U, 1U << 19, 1U << 31}) {
    std::string bad = wrapped->bytes;
    std::memcpy(bad.data() + 4, &cost, sizeof(cost));
    EXPECT_THAT(UnwrapKey(bad, Passphrase("pw")), HasCode(Code::kDataLoss)) << cost;
  }
}

class KeyWrapByCertificate : public testing::Test {
 protected:
  static Certificate Make(CertificateStore& store, const std::string& name) {
    EXPECT_THAT(store.Import(name, name == "own" ? test::TestCertificates::First()
                                                 : test::TestCertificates::Second()),
                IsOk());
    auto certificate = store.FindByName(name);
    EXPECT_THAT(certificate, IsOk());
    return std::move(certificate).value();
  }

  test::TemporaryDirectory directory_;
};

TEST_F(KeyWrapByCertificate, OpensWithItsPrivateKeyOnly) {
  auto store = CertificateStore::Open(directory_.Under("certificates"));
  ASSERT_THAT(store, IsOk());
  const Certificate own = Make(**store, "own");
  const Certificate other = Make(**store, "other");
  const SetKey key = NewKey();

  const auto wrapped = WrapKey(key, own);

  ASSERT_THAT(wrapped, IsOk());
  EXPECT_EQ(wrapped->thumbprint, own.info().thumbprint);
  const auto back = UnwrapKey(wrapped->bytes, own);
  ASSERT_THAT(back, IsOk());
  EXPECT_TRUE(Same(*back, key));
  EXPECT_THAT(UnwrapKey(wrapped->bytes, other), HasCode(Code::kUnauthenticated));
  EXPECT_THAT(UnwrapKey(wrapped->bytes, Passphrase("pw")), HasCode(Code::kDataLoss));
  EXPECT_THAT(UnwrapKey("", own), HasCode(Code::kDataLoss));
  std::string bad = wrapped->bytes;
  bad.back() = static_cast<char>(bad.back() ^ 1);
  EXPECT_THAT(UnwrapKey(bad, own), HasCode(Code::kUnauthenticated));
  // A certificate without private key encrypts, and no more.
  ASSERT_THAT((*store)->Export("own", {.certificate = directory_.Under("own.cer")}), IsOk());
  ASSERT_THAT((*store)->Remove("own"), IsOk());
  ASSERT_THAT((*store)->Import("half", {.certificate = directory_.Under("own.cer")}), IsOk());
  const auto half = (*store)->FindByName("half");
  ASSERT_THAT(half, IsOk());
  EXPECT_FALSE(half->info().has_private_key);
  EXPECT_THAT(WrapKey(key, *half), IsOk());
  EXPECT_THAT(UnwrapKey(wrapped->bytes, *half), MessageHas("private key"));
}

class ReadPassphraseTest : public testing::Test {
 protected:
  std::string Write(const std::string& text, std::filesystem::perms perms) {
    const std::string path = directory_.Under("passphrase");
    std::filesystem::remove(path);
    std::ofstream(path) << text;
    std::filesystem::permissions(path, perms);
    return path;
  }
  static std::string Text(const Result<SecretBytes>& secret) {
    EXPECT_THAT(secret, IsOk());
    return secret.ok() ? std::string(reinterpret_cast<const char*>(secret->data()), secret->size())
                       : "";
  }
  static constexpr auto kOwner = static_cast<std::filesystem::perms>(0600);

  test::TemporaryDirectory directory_;
};

TEST_F(ReadPassphraseTest, TakesAFileOfItsOwnersWithoutTheNewline) {
  EXPECT_EQ(Text(ReadPassphrase({.name = Write("two words \n", kOwner)})), "two words ");
  EXPECT_EQ(Text(ReadPassphrase({.name = Write("dos\r\n", kOwner)})), "dos");
  EXPECT_EQ(Text(ReadPassphrase({.name = Write("a\n\n", kOwner)})), "a\n");
  EXPECT_EQ(Text(ReadPassphrase({.name = Write("bare", kOwner)})), "bare");
}

TEST_F(ReadPassphraseTest, RefusesAFileThatOthersMayRead) {
  for (const int mode : {0640, 0604, 0660, 0644}) {
    const auto secret =
        ReadPassphrase({.name = Write("x", static_cast<std::filesystem::perms>(mode))});
    EXPECT_THAT(secret, HasCode(Code::kPermissionDenied));
    EXPECT_NE(secret.status().hint().find("chmod 600"), std::string_view::npos);
  }
}

TEST_F(ReadPassphraseTest, RefusesWhatIsNoPassphrase) {
  EXPECT_THAT(ReadPassphrase({.name = Write("\n", kOwner)}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ReadPassphrase({.name = Write("", kOwner)}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ReadPassphrase({.name = Write(std::string(1025, 'x'), kOwner)}),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ReadPassphrase({.name = Write(std::string(9000, 'x'), kOwner)}),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ReadPassphrase({.name = directory_.Under("none")}), HasCode(Code::kNotFound));
  EXPECT_THAT(ReadPassphrase({.name = directory_.path()}), HasCode(Code::kInvalidArgument));
}

TEST_F(ReadPassphraseTest, TakesAVariableOfTheServer) {
  constexpr const char* kName = "CAPSTAN_TEST_PASSPHRASE";
  ::unsetenv(kName);
  const Secret secret{.from = Secret::From::kEnvironment, .name = kName};
  EXPECT_THAT(ReadPassphrase(secret), HasCode(Code::kNotFound));
  ::setenv(kName, "", 1);
  EXPECT_THAT(ReadPassphrase(secret), HasCode(Code::kInvalidArgument));
  ::setenv(kName, "from outside\n", 1);
  EXPECT_EQ(Text(ReadPassphrase(secret)), "from outside\n");
  ::unsetenv(kName);
}

}  // namespace
}  // namespace capstan::transform
