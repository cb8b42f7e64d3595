// CertificateStore: the certificates with which keys of backup sets are wrapped, as CREATE
// CERTIFICATE makes them and sys.certificates lists them.
//
// One file per certificate, <directory>/<name>.pem, of mode 0600: the X.509 certificate and its RSA
// private key, both PEM. Every change is a new file that is renamed into place and made durable, so
// that after a crash there is the certificate or there is none. Names are compared without regard
// to the case of ASCII letters; characters that do not belong into file names are written %XX.
// Nothing is cached: a file that is put there by hand counts at once, one that is damaged or that
// others may read is left out and logged.
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::transform {

// What sys.certificates shows.
struct CertificateInfo {
  std::string name;
  std::string subject;        // "CN=..." or the like, most general part last
  std::string issuer;         // likewise
  std::string serial_number;  // hexadecimal, "3a 5f ..." as SQL Server prints it
  std::string thumbprint;     // 20 bytes: SHA-1 of the certificate's DER
  std::int64_t not_before_unix_s = 0;
  std::int64_t not_after_unix_s = 0;
  bool has_private_key = true;  // without it sets can be encrypted, but not restored
};

// A certificate and, if it is there, its private key. Cheap to copy: copies share both.
class Certificate {
 public:
  struct Keys;  // of OpenSSL; certificate_store.cc and key_wrap.cc know them

  explicit Certificate(CertificateInfo info, std::shared_ptr<const Keys> keys)
      : info_(std::move(info)), keys_(std::move(keys)) {}

  const CertificateInfo& info() const { return info_; }
  const Keys& keys() const { return *keys_; }

 private:
  CertificateInfo info_;
  std::shared_ptr<const Keys> keys_;  // shared by copies, since nobody changes them
};

struct CertificateRequest {
  std::string name;
  std::string subject;  // SUBJECT = '...': the common name, up to 64 characters
  // START_DATE and EXPIRY_DATE; 0: now, and one year later, as in SQL Server.
  std::int64_t not_before_unix_s = 0;
  std::int64_t not_after_unix_s = 0;
};

// Where certificates come from and go to: PEM files on the server, absolute paths.
struct CertificateFiles {
  std::string certificate;             // FILE = '...'
  std::string private_key;             // WITH PRIVATE KEY (FILE = '...'); empty: without it
  std::string private_key_passphrase;  // DECRYPTION or ENCRYPTION BY PASSWORD; empty: none
};

class CertificateStore {
 public:
  // Makes `directory` (mode 0700) if it is not there.
  static Result<std::unique_ptr<CertificateStore>> Open(std::string directory);

  // 15151 if there is none of that name; kDataLoss or kPermissionDenied if its file is no good.
  Result<Certificate> FindByName(std::string_view name) const;
  // 33111 if there is none; `thumbprint` is 20 bytes.
  Result<Certificate> FindByThumbprint(std::string_view thumbprint) const;
  // In the order of their names.
  Result<std::vector<CertificateInfo>> List() const;

  // CREATE CERTIFICATE name WITH SUBJECT: self-signed, RSA of 3072 bits. 15232 if the name is
  // taken; kInvalidArgument for a name, subject or dates that are not possible.
  Result<CertificateInfo> Create(const CertificateRequest& request) CAPSTAN_EXCLUDES(mutex_);
  // CREATE CERTIFICATE name FROM FILE. 15232 if the name or the certificate is there; 15208 if a
  // file cannot be read, is no PEM of an RSA certificate, or if the key is not that certificate's.
  Result<CertificateInfo> Import(std::string_view name, const CertificateFiles& files)
      CAPSTAN_EXCLUDES(mutex_);
  // BACKUP CERTIFICATE name TO FILE. 15151 as above ("find"); 15240 if a file exists or cannot be
  // written: neither then stays.
  Status Export(std::string_view name, const CertificateFiles& files) const;
  // DROP CERTIFICATE name. 15151 if there is none.
  Status Remove(std::string_view name) CAPSTAN_EXCLUDES(mutex_);

 private:
  explicit CertificateStore(std::string directory) : directory_(std::move(directory)) {}

  // All that are there and good.
  Result<std::vector<Certificate>> ReadAll() const;
  // 15232 unless neither the name nor the thumbprint is in the store.
  Status CheckNew(std::string_view name, std::string_view thumbprint) const
      CAPSTAN_REQUIRES(mutex_);

  const std::string directory_;
  Mutex mutex_;  // one change at a time
};

}  // namespace capstan::transform
