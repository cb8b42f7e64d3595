// CredentialStore: the keys with which agents log in to object stores, as CREATE CREDENTIAL names
// them.
//
// One file of mode 0600, TOML, an entry per credential:
//
//   [[credential]]
//   name = "s3://bucket/folder"
//   identity = "S3 Access Key"
//   secret = "id:secret"
//
// Agents read it by themselves when they open a medium, so a change counts at once; they learn of
// the file by CAPSTAN_CREDENTIALS in the environment that they inherit. Every change is a new file
// that is renamed into place. Secrets are in no message and no log. Threads: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

class CredentialStore {
 public:
  explicit CredentialStore(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }

  // 15530: it exists. 65030: the name is no s3://bucket, the identity not 'S3 Access Key', or the
  // secret not 'id:secret'. kPermissionDenied, kDataLoss: the file is no good.
  Status Add(std::string_view name, std::string_view identity, std::string_view secret)
      CAPSTAN_EXCLUDES(mutex_);
  // 15151: no such credential; 65030 as above.
  Status Change(std::string_view name, std::string_view identity, std::string_view secret)
      CAPSTAN_EXCLUDES(mutex_);
  // 15151: no such credential.
  Status Remove(std::string_view name) CAPSTAN_EXCLUDES(mutex_);

 private:
  struct Credential {
    std::string name;
    std::string identity;
    std::string secret;
  };

  Result<std::vector<Credential>> Read() const CAPSTAN_REQUIRES(mutex_);
  Status Write(const std::vector<Credential>& credentials) const CAPSTAN_REQUIRES(mutex_);

  const std::string path_;
  Mutex mutex_;
};

}  // namespace capstan::coordinator
