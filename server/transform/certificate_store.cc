#include "server/transform/certificate_store.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include <strings.h>
#include <sys/stat.h>

#include "server/messages/messages.h"
#include "server/transform/certificate_keys.h"
#include "server/transform/private_file.h"
#include "vdi/base/log.h"

namespace capstan::transform {
namespace {

constexpr std::size_t kFileSizeMax = 64 << 10;  // bytes, of certificate and key
constexpr std::size_t kNameMax = 128;           // bytes; file names have 255, and each may be %XX
constexpr std::string_view kSuffix = ".pem";

bool Belongs(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

std::string FileNameOf(std::string_view name) {
  std::string encoded;
  for (const char c : name) {
    encoded +=
        Belongs(c) ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded + std::string(kSuffix);
}

// Nothing if it is no name that FileNameOf gives.
std::optional<std::string> NameOfFile(std::string_view file_name) {
  if (!file_name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  file_name.remove_suffix(kSuffix.size());
  std::string name;
  while (!file_name.empty()) {
    std::size_t taken = 1;
    char c = file_name.front();
    if (c == '%') {
      unsigned int value = 0;
      const std::string digits(file_name.substr(1, 2));
      if (digits.size() != 2 || std::sscanf(digits.c_str(), "%2X", &value) != 1) {
        return std::nullopt;
      }
      c = static_cast<char>(value);
      taken = 3;
    }
    name += c;
    file_name.remove_prefix(taken);
  }
  return name.empty() ? std::nullopt : std::optional(name);
}

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

Status CheckName(std::string_view name) {
  const bool control = std::any_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  // Two bytes of every name are the file system's at least; %XX takes three.
  const bool fits = FileNameOf(name).size() <= 250;
  return !name.empty() && name.size() <= kNameMax && fits && !control ? OkStatus()
                                                                      : SqlError(15006, name);
}

Result<Certificate> ReadFrom(const std::string& path, std::string name) {
  CAPSTAN_ASSIGN_OR_RETURN(const SecretBytes file,
                           ReadPrivateFile(path, "the certificate", kFileSizeMax));
  auto keys = std::make_shared<Certificate::Keys>();
  CAPSTAN_ASSIGN_OR_RETURN(keys->certificate, ParseCertificate(file));
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.find("PRIVATE KEY-----") != std::string_view::npos) {
    CAPSTAN_ASSIGN_OR_RETURN(keys->private_key, ParsePrivateKey(file, ""));
    CAPSTAN_RETURN_IF_ERROR(CheckPair(*keys->certificate, *keys->private_key));
  }
  CertificateInfo info = Describe(*keys);
  info.name = std::move(name);
  return Certificate(std::move(info), std::move(keys));
}

SecretBytes Joined(const SecretBytes& a, const SecretBytes& b) {
  SecretBytes both(a.size() + b.size());
  std::copy(a.span().begin(), a.span().end(), both.span().begin());
  std::copy(b.span().begin(), b.span().end(),
            both.span().begin() + static_cast<std::ptrdiff_t>(a.size()));
  return both;
}

Status Store(const std::string& path, const Certificate::Keys& keys) {
  SecretBytes content = CertificatePem(*keys.certificate);
  if (keys.private_key != nullptr) {
    CAPSTAN_ASSIGN_OR_RETURN(const SecretBytes key, PrivateKeyPem(*keys.private_key, ""));
    content = Joined(content, key);
  }
  return CreatePrivateFile(path, content);
}

// 15208 with the cause as its hint.
Status Unreadable(const Status& cause) {
  return SqlError(15208).WithHint(cause.hint().empty()
                                      ? std::string(cause.message())
                                      : fmt::format("{}: {}", cause.message(), cause.hint()));
}

}  // namespace

Result<std::unique_ptr<CertificateStore>> CertificateStore::Open(std::string directory) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return OsError(errno, fmt::format("unable to create the certificates' folder '{}'", directory));
  }
  std::unique_ptr<CertificateStore> store(new CertificateStore(std::move(directory)));
  CAPSTAN_RETURN_IF_ERROR(store->List().status());
  return store;
}

Result<std::vector<Certificate>> CertificateStore::ReadAll() const {
  std::vector<Certificate> certificates;
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory_, error), end; !error && at != end;
       at.increment(error)) {
    const std::optional<std::string> name = NameOfFile(at->path().filename().string());
    if (!name) {
      continue;
    }
    auto certificate = ReadFrom(at->path().string(), *name);
    if (certificate.ok()) {
      certificates.push_back(std::move(certificate).value());
    } else if (certificate.status().code() != Code::kNotFound) {
      CAPSTAN_LOG(kWarning, "certificate '{}' is left out: {}: {}", *name,
                  certificate.status().message(), certificate.status().hint());
    }
  }
  if (error) {
    return OsError(error.value(), fmt::format("unable to read the folder '{}'", directory_));
  }
  std::sort(certificates.begin(), certificates.end(),
            [](const auto& a, const auto& b) { return a.info().name < b.info().name; });
  return certificates;
}

Result<Certificate> CertificateStore::FindByName(std::string_view name) const {
  auto exact = ReadFrom(directory_ + "/" + FileNameOf(name), std::string(name));
  if (exact.ok() || exact.status().code() != Code::kNotFound) {
    return exact;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Certificate> all, ReadAll());
  for (const Certificate& certificate : all) {
    if (SameName(certificate.info().name, name)) {
      return certificate;
    }
  }
  return SqlError(15151, "find", "certificate", name);
}

Result<Certificate> CertificateStore::FindByThumbprint(std::string_view thumbprint) const {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Certificate> all, ReadAll());
  for (const Certificate& certificate : all) {
    if (certificate.info().thumbprint == thumbprint) {
      return certificate;
    }
  }
  std::string text = "0x";
  for (const char c : thumbprint) {
    text += fmt::format("{:02X}", static_cast<unsigned char>(c));
  }
  return SqlError(33111, "certificate", text)
      .WithHint("CREATE CERTIFICATE ... FROM FILE brings a certificate and its private key here");
}

Result<std::vector<CertificateInfo>> CertificateStore::List() const {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<Certificate> all, ReadAll());
  std::vector<CertificateInfo> infos;
  infos.reserve(all.size());
  for (const Certificate& certificate : all) {
    infos.push_back(certificate.info());
  }
  return infos;
}

Status CertificateStore::CheckNew(std::string_view name, std::string_view thumbprint) const {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<CertificateInfo> all, List());
  for (const CertificateInfo& info : all) {
    if (SameName(info.name, name) || info.thumbprint == thumbprint) {
      return SqlError(15232, name);
    }
  }
  return OkStatus();
}

Result<CertificateInfo> CertificateStore::Create(const CertificateRequest& request) {
  CAPSTAN_RETURN_IF_ERROR(CheckName(request.name));
  const MutexLock lock(mutex_);
  CAPSTAN_RETURN_IF_ERROR(CheckNew(request.name, ""));  // before the long work
  CAPSTAN_ASSIGN_OR_RETURN(const Certificate::Keys keys, MakeSelfSigned(request));
  CAPSTAN_RETURN_IF_ERROR(Store(directory_ + "/" + FileNameOf(request.name), keys));
  CertificateInfo info = Describe(keys);
  info.name = request.name;
  return info;
}

Result<CertificateInfo> CertificateStore::Import(std::string_view name,
                                                 const CertificateFiles& files) {
  CAPSTAN_RETURN_IF_ERROR(CheckName(name));
  auto file = ReadSmallFile(files.certificate, "the certificate", kFileSizeMax);
  if (!file.ok()) {
    return Unreadable(file.status());
  }
  Certificate::Keys keys;
  CAPSTAN_ASSIGN_OR_RETURN(keys.certificate, ParseCertificate(*file));
  if (!files.private_key.empty()) {
    auto key_file = ReadSmallFile(files.private_key, "the private key", kFileSizeMax);
    if (!key_file.ok()) {
      return Unreadable(key_file.status());
    }
    CAPSTAN_ASSIGN_OR_RETURN(keys.private_key,
                             ParsePrivateKey(*key_file, files.private_key_passphrase));
    CAPSTAN_RETURN_IF_ERROR(CheckPair(*keys.certificate, *keys.private_key));
  }
  CertificateInfo info = Describe(keys);
  info.name = name;
  const MutexLock lock(mutex_);
  CAPSTAN_RETURN_IF_ERROR(CheckNew(name, info.thumbprint));
  CAPSTAN_RETURN_IF_ERROR(Store(directory_ + "/" + FileNameOf(name), keys));
  return info;
}

Status CertificateStore::Export(std::string_view name, const CertificateFiles& files) const {
  CAPSTAN_ASSIGN_OR_RETURN(const Certificate certificate, FindByName(name));
  const Certificate::Keys& keys = certificate.keys();
  const auto write = [](const std::string& path, const SecretBytes& content) -> Status {
    const Status written = CreatePrivateFile(path, content);
    return written.ok() ? OkStatus()
                        : SqlError(15240, path).WithHint(std::string(written.message()));
  };
  CAPSTAN_RETURN_IF_ERROR(write(files.certificate, CertificatePem(*keys.certificate)));
  if (files.private_key.empty()) {
    return OkStatus();
  }
  Status status = SqlError(15151, "export the private key of", "certificate", name);
  if (keys.private_key != nullptr) {
    auto pem = PrivateKeyPem(*keys.private_key, files.private_key_passphrase);
    status = pem.ok() ? write(files.private_key, *pem) : pem.status();
  }
  if (!status.ok()) {
    (void)RemoveFile(files.certificate);  // what is reported is why the other one failed
  }
  return status;
}

Status CertificateStore::Remove(std::string_view name) {
  const MutexLock lock(mutex_);
  const auto found = FindByName(name);
  if (!found.ok()) {
    return found.status().reason() == 15151 ? SqlError(15151, "drop", "certificate", name)
                                            : found.status();
  }
  return RemoveFile(directory_ + "/" + FileNameOf(found->info().name));
}

}  // namespace capstan::transform
