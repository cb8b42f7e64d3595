#include "server/engine/set_coding.h"

#include <utility>

#include "server/messages/messages.h"
#include "server/transform/codec.h"
#include "server/transform/key_wrap.h"
#include "vdi/base/check.h"

namespace capstan::engine {
namespace {

constexpr char kByCertificate[] = "CERTIFICATE";
constexpr char kByPassphrase[] = "PASSPHRASE";

Status NoCertificates() {
  return SqlError(15151, "find", "certificate", "").WithHint("this server keeps no certificates");
}

// 15208 with the cause as its hint.
Status UnreadablePassphrase(const Status& cause) {
  return SqlError(15208).WithHint(cause.hint().empty()
                                      ? std::string(cause.message())
                                      : fmt::format("{}: {}", cause.message(), cause.hint()));
}

Status Locked(const std::string& device, std::string_view why) {
  return SqlError(65010, device, why);
}

Result<std::shared_ptr<const transform::SetKey>> Share(Result<transform::SetKey> key) {
  CAPSTAN_RETURN_IF_ERROR(key.status());
  return std::shared_ptr<const transform::SetKey>(
      std::make_shared<transform::SetKey>(std::move(key).value()));
}

Result<transform::WrappedKey> Wrap(const transform::SetKey& key, const transform::Secret& secret) {
  const auto passphrase = transform::ReadPassphrase(secret);
  if (!passphrase.ok()) {
    return UnreadablePassphrase(passphrase.status());
  }
  return transform::WrapKey(key, *passphrase);
}

Result<transform::WrappedKey> Wrap(const transform::SetKey& key,
                                   const transform::CertificateName& name,
                                   const transform::CertificateStore* certificates) {
  if (certificates == nullptr) {
    return NoCertificates();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const transform::Certificate certificate,
                           certificates->FindByName(name.name));
  return transform::WrapKey(key, certificate);
}

Result<transform::SetKey> UnwrapByCertificate(const media::BackupSet& set, const KeyRing& keys) {
  if (keys.certificates == nullptr) {
    return NoCertificates();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const transform::Certificate certificate,
                           keys.certificates->FindByThumbprint(set.encryption.thumbprint));
  return transform::UnwrapKey(set.encryption.wrapped_key, certificate);
}

Result<transform::SetKey> UnwrapByPassphrase(const media::BackupSet& set, const KeyRing& keys) {
  if (!keys.passphrase) {
    return Error(Code::kUnauthenticated, "it needs the passphrase that it was encrypted with");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const transform::SecretBytes passphrase,
                           transform::ReadPassphrase(*keys.passphrase));
  return transform::UnwrapKey(set.encryption.wrapped_key, passphrase);
}

}  // namespace

Result<SetCoding> PlanCoding(const CodingRequest& request,
                             const transform::CertificateStore* certificates) {
  SetCoding coding;
  coding.backup_set_guid = Guid::Random();
  if (request.compression) {
    coding.compression = *request.compression;
    coding.form.codec = request.compression->algorithm == transform::Algorithm::kLz4
                            ? media::CodecId::kLz4
                            : media::CodecId::kZstd;
  }
  if (!request.encryption) {
    return coding;
  }
  CAPSTAN_ASSIGN_OR_RETURN(coding.key, Share(transform::MakeSetKey()));
  const auto& encryptor = request.encryption->encryptor;
  const auto* const name = std::get_if<transform::CertificateName>(&encryptor);
  CAPSTAN_ASSIGN_OR_RETURN(transform::WrappedKey wrapped,
                           name != nullptr
                               ? Wrap(*coding.key, *name, certificates)
                               : Wrap(*coding.key, std::get<transform::Secret>(encryptor)));
  coding.form.cipher = media::CipherId::kAes256Gcm;
  coding.encryption = {.key_algorithm = media::kAes256Name,
                       .encryptor_type = name != nullptr ? kByCertificate : kByPassphrase,
                       .thumbprint = std::move(wrapped.thumbprint),
                       .wrapped_key = std::move(wrapped.bytes)};
  return coding;
}

void DescribeCoding(const SetCoding& coding, media::BackupSet* set) {
  set->backup_set_guid = coding.backup_set_guid;
  if (coding.form.compressed()) {
    set->compression_algorithm = transform::AlgorithmName(coding.compression.algorithm);
  }
  set->encryption = coding.encryption;
}

Result<SetCoding> UnlockCoding(const media::BackupSet& set, const KeyRing& keys,
                               const std::string& device) {
  const std::optional<media::PayloadForm> form = media::PayloadFormOf(set);
  if (!form) {
    return SqlError(3239, device);
  }
  SetCoding coding{.form = *form, .backup_set_guid = set.backup_set_guid};
  if (form->compressed()) {
    // The names are those of transform, or there would be no form.
    coding.compression.algorithm = *transform::AlgorithmOfName(set.compression_algorithm);
  }
  if (!form->encrypted()) {
    return coding;
  }
  Result<transform::SetKey> key = Locked(device, "nothing is known that could unlock it");
  if (set.encryption.encryptor_type == kByCertificate) {
    key = UnwrapByCertificate(set, keys);
  } else if (set.encryption.encryptor_type == kByPassphrase) {
    key = UnwrapByPassphrase(set, keys);
  }
  if (!key.ok()) {
    const Status& why = key.status();
    return why.reason() != 0 ? why
                             : Locked(device, why.message()).WithHint(std::string(why.hint()));
  }
  CAPSTAN_ASSIGN_OR_RETURN(coding.key, Share(std::move(key)));
  coding.encryption = set.encryption;
  return coding;
}

transform::Authentication& KeyAuthenticator::End(std::uint64_t number) {
  if (!end_) {
    auto end = transform::Authentication::Create(
        *key_, {.domain = transform::NonceDomain::kSetEnd, .number = number});
    CAPSTAN_CHECK(end.ok());  // fails without memory only
    end_.emplace(std::move(end).value());
  }
  return *end_;
}

media::Authenticator::Tag KeyAuthenticator::HeadTag(
    std::uint64_t number, std::span<const std::span<const std::byte>> pieces) {
  auto head = transform::Authentication::Create(
      *key_, {.domain = transform::NonceDomain::kSetHead, .number = number});
  CAPSTAN_CHECK(head.ok());  // as above
  for (const std::span<const std::byte> piece : pieces) {
    head->Add(piece);
  }
  return head->Finish();
}

void KeyAuthenticator::AddToEnd(std::uint64_t number, std::span<const std::byte> piece) {
  End(number).Add(piece);
}

media::Authenticator::Tag KeyAuthenticator::EndTag(std::uint64_t number) {
  return End(number).Finish();
}

}  // namespace capstan::engine
