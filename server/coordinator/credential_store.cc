#include "server/coordinator/credential_store.h"

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

// Errors as values, not as exceptions.
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "vdi/base/unique_fd.h"

namespace capstan::coordinator {
namespace {

constexpr std::string_view kScheme = "s3://";
constexpr std::string_view kIdentity = "S3 Access Key";
constexpr mode_t kForOthers = 077;

Status Check(std::string_view name, std::string_view identity, std::string_view secret) {
  if (name.substr(0, kScheme.size()) != kScheme || name.size() == kScheme.size()) {
    return SqlError(65030, name, "its name does not begin with s3:// and a bucket")
        .WithHint("write CREATE CREDENTIAL [s3://bucket/folder] WITH ...");
  }
  if (!tsql::EqualsIgnoreCase(identity, kIdentity)) {
    return SqlError(65030, name, fmt::format("its identity is not '{}'", kIdentity));
  }
  const std::size_t colon = secret.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == secret.size()) {
    return SqlError(65030, name, "its secret is not of the form 'access key id:secret key'");
  }
  return OkStatus();
}

Status WriteAll(const UniqueFd& file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(file.get(), text.data(), text.size());
    if (size < 0) {
      return OsError(errno, "unable to write the credentials");
    }
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  return ::fsync(file.get()) == 0 ? OkStatus()
                                  : OsError(errno, "unable to make the credentials durable");
}

}  // namespace

Result<std::vector<CredentialStore::Credential>> CredentialStore::Read() const {
  std::vector<Credential> credentials;
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      return credentials;
    }
    return OsError(errno, fmt::format("unable to look up the credentials '{}'", path_));
  }
  if ((status.st_mode & kForOthers) != 0) {
    return Error(Code::kPermissionDenied, "others than its owner may open the credentials '{}'",
                 path_)
        .WithHint(fmt::format("chmod 600 '{}', and think of new keys", path_));
  }
  const auto file = toml::parse_file(path_);
  if (!file) {
    return Error(Code::kDataLoss, "the credentials '{}' are damaged in line {}", path_,
                 file.error().source().begin.line);
  }
  if (const toml::array* const entries = file.table()["credential"].as_array()) {
    for (const toml::node& node : *entries) {
      if (const toml::table* const entry = node.as_table()) {
        credentials.push_back({.name = (*entry)["name"].value_or(std::string()),
                               .identity = (*entry)["identity"].value_or(std::string()),
                               .secret = (*entry)["secret"].value_or(std::string())});
      }
    }
  }
  return credentials;
}

Status CredentialStore::Write(const std::vector<Credential>& credentials) const {
  toml::array entries;
  for (const Credential& credential : credentials) {
    entries.push_back(toml::table{{"name", credential.name},
                                  {"identity", credential.identity},
                                  {"secret", credential.secret}});
  }
  std::ostringstream text;
  text << toml::table{{"credential", std::move(entries)}} << "\n";
  const std::string fresh = path_ + ".new";
  ::unlink(fresh.c_str());  // of a server that died here
  const UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return OsError(errno, fmt::format("unable to create '{}'", fresh));
  }
  Status status = WriteAll(file, text.str());
  if (status.ok() && ::rename(fresh.c_str(), path_.c_str()) != 0) {
    status = OsError(errno, fmt::format("unable to replace the credentials '{}'", path_));
  }
  if (!status.ok()) {
    ::unlink(fresh.c_str());
    return status;
  }
  const UniqueFd folder(
      ::open(path_.substr(0, path_.find_last_of('/') + 1).c_str(), O_RDONLY | O_CLOEXEC));
  return folder.valid() && ::fsync(folder.get()) == 0
             ? OkStatus()
             : OsError(errno, fmt::format("unable to make '{}' durable", path_));
}

Status CredentialStore::Add(std::string_view name, std::string_view identity,
                            std::string_view secret) {
  CAPSTAN_RETURN_IF_ERROR(Check(name, identity, secret));
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(std::vector<Credential> credentials, Read());
  const bool taken = std::any_of(credentials.begin(), credentials.end(),
                                 [&](const Credential& known) { return known.name == name; });
  if (taken) {
    return SqlError(15530, "credential", name);
  }
  credentials.push_back({.name = std::string(name),
                         .identity = std::string(identity),
                         .secret = std::string(secret)});
  return Write(credentials);
}

Status CredentialStore::Change(std::string_view name, std::string_view identity,
                               std::string_view secret) {
  CAPSTAN_RETURN_IF_ERROR(Check(name, identity, secret));
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(std::vector<Credential> credentials, Read());
  for (Credential& known : credentials) {
    if (known.name == name) {
      known.identity = identity;
      known.secret = secret;
      return Write(credentials);
    }
  }
  return SqlError(15151, "alter", "credential", name);
}

Status CredentialStore::Remove(std::string_view name) {
  const MutexLock lock(mutex_);
  CAPSTAN_ASSIGN_OR_RETURN(std::vector<Credential> credentials, Read());
  const auto gone =
      std::erase_if(credentials, [&](const Credential& known) { return known.name == name; });
  return gone == 0 ? SqlError(15151, "drop", "credential", name) : Write(credentials);
}

}  // namespace capstan::coordinator
