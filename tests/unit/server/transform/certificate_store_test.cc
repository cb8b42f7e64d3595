#include "server/transform/certificate_store.h"

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/test_certificates.h"

namespace capstan::transform {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;
using test::MessageHas;
using test::TestCertificates;

class CertificateStoreTest : public testing::Test {
 protected:
  std::unique_ptr<CertificateStore> Open() {
    auto store = CertificateStore::Open(folder());
    EXPECT_THAT(store, IsOk());
    return store.ok() ? *std::move(store) : nullptr;
  }
  std::string folder() const { return directory_.Under("certificates"); }
  std::string Under(const std::string& name) const { return directory_.Under(name); }
  static unsigned ModeOf(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 0777U;
  }
  static std::string TextOf(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  test::TemporaryDirectory directory_;
};

TEST_F(CertificateStoreTest, FindsWhatItMadeAfterARestart) {
  const std::int64_t before = std::time(nullptr);
  const auto made = Open()->Create({.name = "Backup Cert", .subject = "Nightly backups"});
  ASSERT_THAT(made, IsOk());

  const auto store = Open();
  const auto found = store->FindByName("backup cert");

  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->info().name, "Backup Cert");
  EXPECT_EQ(found->info().subject, "CN=Nightly backups");
  EXPECT_EQ(found->info().issuer, "CN=Nightly backups");
  EXPECT_EQ(found->info().thumbprint.size(), 20U);
  EXPECT_EQ(found->info().serial_number, made->serial_number);
  EXPECT_GE(found->info().not_before_unix_s, before);
  EXPECT_EQ(found->info().not_after_unix_s - found->info().not_before_unix_s, 365 * 86400);
  EXPECT_TRUE(found->info().has_private_key);
  const auto by_thumbprint = store->FindByThumbprint(made->thumbprint);
  ASSERT_THAT(by_thumbprint, IsOk());
  EXPECT_EQ(by_thumbprint->info().name, "Backup Cert");
  EXPECT_EQ(ModeOf(folder()), 0700U);
  EXPECT_EQ(ModeOf(folder() + "/Backup%20Cert.pem"), 0600U);
}

TEST_F(CertificateStoreTest, RefusesWhatItCannotMake) {
  const auto store = Open();
  ASSERT_THAT(store->Import("one", TestCertificates::First()), IsOk());

  EXPECT_THAT(store->Create({.name = "ONE", .subject = "Two"}), HasReason(15232));
  EXPECT_THAT(store->Create({.name = "", .subject = "x"}), HasReason(15006));
  EXPECT_THAT(store->Create({.name = "a\nb", .subject = "x"}), HasReason(15006));
  EXPECT_THAT(store->Create({.name = std::string(129, 'a'), .subject = "x"}), HasReason(15006));
  EXPECT_THAT(store->Create({.name = "two", .subject = ""}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(store->Create({.name = "two", .subject = std::string(65, 'x')}),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT(store->Create({.name = "two",
                             .subject = "x",
                             .not_before_unix_s = 2000000000,
                             .not_after_unix_s = 1900000000}),
              HasCode(Code::kInvalidArgument));
  EXPECT_EQ(store->List()->size(), 1U);
}

TEST_F(CertificateStoreTest, KeepsNamesWithinItsFolder) {
  const auto store = Open();

  ASSERT_THAT(store->Import("../out/of.it", TestCertificates::First()), IsOk());

  EXPECT_THAT(store->FindByName("../OUT/of.it"), IsOk());
  EXPECT_TRUE(std::filesystem::exists(folder() + "/%2E%2E%2Fout%2Fof%2Eit.pem"));
  EXPECT_THAT(store->Remove("../out/of.it"), IsOk());
  EXPECT_TRUE(std::filesystem::is_empty(folder()));
}

TEST_F(CertificateStoreTest, SaysWhatIsNotThere) {
  const auto store = Open();

  EXPECT_THAT(store->FindByName("none"), HasReason(15151));
  EXPECT_THAT(store->FindByName("none"), MessageHas("Cannot find the certificate 'none'"));
  EXPECT_THAT(store->Remove("none"), MessageHas("Cannot drop the certificate 'none'"));
  EXPECT_THAT(store->Export("none", {.certificate = Under("x")}), HasReason(15151));
  EXPECT_THAT(store->FindByThumbprint(std::string(20, '\xAB')), HasReason(33111));
  EXPECT_THAT(store->FindByThumbprint(std::string(20, '\xAB')),
              MessageHas("Cannot find server certificate with thumbprint "
                         "'0xABABABABABABABABABABABABABABABABABABABAB'."));
}

TEST_F(CertificateStoreTest, GivesACertificateToAnotherServer) {
  const auto store = Open();
  const auto made = store->Import("one", TestCertificates::First());
  ASSERT_THAT(made, IsOk());
  const CertificateFiles files{.certificate = Under("one.cer"),
                               .private_key = Under("one.pvk"),
                               .private_key_passphrase = "on the way"};
  ASSERT_THAT(store->Export("one", files), IsOk());
  EXPECT_EQ(ModeOf(files.private_key), 0600U);
  EXPECT_NE(TextOf(files.private_key).find("BEGIN ENCRYPTED PRIVATE KEY"), std::string::npos);
  auto elsewhere = CertificateStore::Open(Under("elsewhere"));
  ASSERT_THAT(elsewhere, IsOk());

  const auto imported = (*elsewhere)->Import("renamed", files);

  ASSERT_THAT(imported, IsOk());
  EXPECT_EQ(imported->thumbprint, made->thumbprint);
  EXPECT_EQ(imported->name, "renamed");
  EXPECT_THAT((*elsewhere)->FindByThumbprint(made->thumbprint), IsOk());
  EXPECT_THAT((*elsewhere)->Import("again", files), HasReason(15232));
  CertificateFiles wrong = files;
  wrong.private_key_passphrase = "";
  EXPECT_THAT((*elsewhere)->Import("wrong", wrong), HasReason(15208));
  wrong.private_key_passphrase = "off the way";
  EXPECT_THAT((*elsewhere)->Import("wrong", wrong), HasReason(15208));
}

TEST_F(CertificateStoreTest, RefusesFilesThatDoNotBelongTogether) {
  std::ofstream(Under("text")) << "no certificate";
  std::ofstream(Under("large")) << std::string(100'000, 'x');
  auto elsewhere = CertificateStore::Open(Under("elsewhere"));
  ASSERT_THAT(elsewhere, IsOk());
  const auto import = [&](const std::string& certificate, const std::string& key) {
    return (*elsewhere)->Import("new", {.certificate = certificate, .private_key = key});
  };
  const CertificateFiles first = TestCertificates::First();

  EXPECT_THAT(import(first.certificate, TestCertificates::Second().private_key), HasReason(15208));
  EXPECT_THAT(import(Under("text"), first.private_key), HasReason(15208));
  EXPECT_THAT(import(first.certificate, Under("text")), HasReason(15208));
  EXPECT_THAT(import(first.certificate, Under("none")), HasReason(15208));
  EXPECT_THAT(import(Under("none"), first.private_key), HasReason(15208));
  EXPECT_THAT(import(Under("large"), first.private_key), HasReason(15208));
  EXPECT_THAT(import(first.private_key, first.private_key), HasReason(15208));
  EXPECT_TRUE((*elsewhere)->List()->empty());
  EXPECT_THAT(import(first.certificate, first.private_key), IsOk());
}

TEST_F(CertificateStoreTest, OverwritesNothingOnExport) {
  const auto store = Open();
  ASSERT_THAT(store->Import("one", TestCertificates::First()), IsOk());
  std::ofstream(Under("there")) << "mine";

  EXPECT_THAT(store->Export("one", {.certificate = Under("there")}), HasReason(15240));
  EXPECT_THAT(
      store->Export("one", {.certificate = Under("new.cer"), .private_key = Under("there")}),
      HasReason(15240));
  EXPECT_THAT(store->Export("one", {.certificate = Under("no/such/folder")}), HasReason(15240));

  EXPECT_EQ(TextOf(Under("there")), "mine");
  EXPECT_FALSE(std::filesystem::exists(Under("new.cer")));
}

TEST_F(CertificateStoreTest, LeavesOutFilesThatAreNoGood) {
  const auto store = Open();
  ASSERT_THAT(store->Import("good", TestCertificates::First()), IsOk());
  ASSERT_THAT(store->Import("open", TestCertificates::Second()), IsOk());
  std::filesystem::permissions(folder() + "/open.pem", std::filesystem::perms(0640));
  std::ofstream(folder() + "/damaged.pem") << "-----BEGIN CERTIFICATE-----";
  std::filesystem::permissions(folder() + "/damaged.pem", std::filesystem::perms(0600));
  std::ofstream(folder() + "/half.pem.new") << "of a server that died";

  const auto list = store->List();

  ASSERT_THAT(list, IsOk());
  ASSERT_EQ(list->size(), 1U);
  EXPECT_EQ(list->front().name, "good");
  EXPECT_THAT(store->FindByName("open"), HasCode(Code::kPermissionDenied));
  EXPECT_THAT(store->FindByName("damaged"), HasReason(15208));
  ASSERT_THAT(store->Remove("good"), IsOk());
  EXPECT_THAT(store->Import("half", TestCertificates::First()), IsOk());
}

TEST_F(CertificateStoreTest, FailsWithoutItsFolder) {
  EXPECT_THAT(CertificateStore::Open(Under("no/such")), HasCode(Code::kNotFound));
  std::ofstream(Under("file")) << "";
  EXPECT_FALSE(CertificateStore::Open(Under("file")).ok());
  const auto store = Open();
  std::filesystem::remove_all(folder());
  EXPECT_THAT(store->List(), HasCode(Code::kNotFound));
  EXPECT_THAT(store->FindByThumbprint(std::string(20, 'x')), HasCode(Code::kNotFound));
  EXPECT_THAT(store->Create({.name = "x", .subject = "x"}), HasCode(Code::kNotFound));
}

}  // namespace
}  // namespace capstan::transform
