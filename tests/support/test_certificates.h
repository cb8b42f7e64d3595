// Certificates for tests: two pairs of files, made once per process since making keys takes its
// time. Any number of stores may import them.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "server/transform/certificate_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::test {

class TestCertificates {
 public:
  static const transform::CertificateFiles& First() { return Instance().first_; }
  static const transform::CertificateFiles& Second() { return Instance().second_; }

 private:
  TestCertificates() {
    auto store = transform::CertificateStore::Open(directory_.Under("store"));
    EXPECT_THAT(store, IsOk());
    for (const transform::CertificateFiles* files : {&first_, &second_}) {
      EXPECT_THAT((*store)->Create({.name = files->certificate, .subject = "Test"}), IsOk());
      EXPECT_THAT((*store)->Export(files->certificate, *files), IsOk());
    }
  }
  static const TestCertificates& Instance() {
    static const TestCertificates instance;
    return instance;
  }

  TemporaryDirectory directory_;
  transform::CertificateFiles first_{.certificate = directory_.Under("1.cer"),
                                     .private_key = directory_.Under("1.pvk"),
                                     .private_key_passphrase = ""};
  transform::CertificateFiles second_{.certificate = directory_.Under("2.cer"),
                                      .private_key = directory_.Under("2.pvk"),
                                      .private_key_passphrase = ""};
};

}  // namespace capstan::test
