// CodedFixture: an EngineFixture with a certificate "nightly", whose backups are compressed and
// encrypted.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/test_certificates.h"
#include "tests/unit/server/engine/coding_samples.h"
#include "tests/unit/server/engine/engine_fixture.h"

namespace capstan::engine {

class CodedFixture : public EngineFixture {
 protected:
  void SetUp() override {
    auto store = transform::CertificateStore::Open(directory_.Under("certificates"));
    ASSERT_THAT(store, test::IsOk());
    certificates_ = std::move(store).value();
    ASSERT_THAT(certificates_->Import("nightly", test::TestCertificates::First()), test::IsOk());
    Start();
  }

  BackupRequest Request(std::vector<std::string> targets, const CodingSample& coding) {
    BackupRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "sales";
    request.media_use = MediaUse::kFormat;
    request.compression = coding.compression.has_value();
    request.compression_settings = coding.compression.value_or(transform::Compression());
    if (coding.encrypted) {
      request.encryption = {.encryptor = transform::CertificateName{"nightly"}};
    }
    return request;
  }
  Status BackUp(std::vector<std::string> targets, const CodingSample& coding) {
    return engine_->Backup(Request(std::move(targets), coding), observer_);
  }
  Status RestoreCopy(std::vector<std::string> targets,
                     std::optional<transform::Secret> passphrase = {}) {
    writer_.restored.clear();
    RestoreRequest request;
    request.transfer = Transfer(std::move(targets));
    request.database = "copy";
    for (std::size_t i = 0; i < writer_.files.size(); ++i) {
      const std::string number = i == 0 ? "" : std::to_string(i + 1);
      request.moves.emplace_back("sales" + number, "/new" + number);
    }
    request.replace = true;
    request.passphrase = std::move(passphrase);
    return engine_->Restore(request, observer_);
  }
  void ExpectRestored() {
    for (std::size_t i = 0; i < writer_.files.size(); ++i) {
      const std::string name = i == 0 ? "/new" : "/new" + std::to_string(i + 1);
      EXPECT_TRUE(writer_.restored[name] == writer_.files[i]) << name;
    }
  }
};

}  // namespace capstan::engine
