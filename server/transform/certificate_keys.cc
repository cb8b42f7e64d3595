#include "server/transform/certificate_keys.h"

#include <array>
#include <ctime>

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "server/messages/messages.h"
#include "vdi/base/check.h"

namespace capstan::transform {
namespace {

constexpr int kKeyBits = 3072;
constexpr int kKeyBitsMin = 2048;
constexpr std::size_t kSubjectMax = 64;  // RFC 5280: ub-common-name
constexpr std::int64_t kYear = 365 * 86400;

OpenSslPtr<BIO> BioOf(const SecretBytes& bytes) {
  OpenSslPtr<BIO> bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  CAPSTAN_CHECK(bio != nullptr);
  return bio;
}

SecretBytes ContentOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return SecretBytes(std::as_bytes(std::span(data, static_cast<std::size_t>(size))));
}

// Without a callback OpenSSL would ask on the terminal.
int GivePassphrase(char* target, int size, int /*writing*/, void* context) {
  const auto& passphrase = *static_cast<const std::string*>(context);
  if (passphrase.size() > static_cast<std::size_t>(size)) {
    return -1;
  }
  passphrase.copy(target, passphrase.size());
  return static_cast<int>(passphrase.size());
}

std::string NameText(const X509_NAME* name) {
  const OpenSslPtr<BIO> bio(BIO_new(BIO_s_mem()));
  CAPSTAN_CHECK(bio != nullptr);
  // Not control characters, not quotes, but UTF-8 as it is.
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  const SecretBytes text = ContentOf(bio.get());
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

std::int64_t UnixSeconds(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? ::timegm(&parts) : 0;
}

std::string SerialText(const ASN1_INTEGER* serial) {
  std::string text;
  for (int i = 0; i < ASN1_STRING_length(serial); ++i) {
    text += fmt::format("{}{:02x}", i == 0 ? "" : " ", ASN1_STRING_get0_data(serial)[i]);
  }
  return text;
}

Status SetSerial(X509* certificate) {
  BIGNUM* const number = BN_new();
  // 127 bits: positive in any encoding.
  const bool made = number != nullptr &&
                    BN_rand(number, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return made ? OkStatus() : Error(Code::kUnavailable, "the system has no random numbers");
}

Status SetSubject(X509* certificate, const std::string& subject) {
  X509_NAME* const name = X509_get_subject_name(certificate);
  const auto* const text = reinterpret_cast<const unsigned char*>(subject.data());
  if (subject.empty() || subject.size() > kSubjectMax ||
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text, static_cast<int>(subject.size()),
                                 -1, 0) != 1 ||
      X509_set_issuer_name(certificate, name) != 1) {
    ERR_clear_error();
    return Error(Code::kInvalidArgument,
                 "'{}' is not possible as the subject of a certificate: 1 to 64 bytes of UTF-8 are",
                 subject);
  }
  return OkStatus();
}

Status SetDates(X509* certificate, const CertificateRequest& request) {
  const std::int64_t from =
      request.not_before_unix_s != 0 ? request.not_before_unix_s : std::time(nullptr);
  const std::int64_t to = request.not_after_unix_s != 0 ? request.not_after_unix_s : from + kYear;
  if (to <= from || ASN1_TIME_set(X509_getm_notBefore(certificate), from) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate), to) == nullptr) {
    ERR_clear_error();
    return Error(Code::kInvalidArgument, "a certificate cannot expire before it begins");
  }
  return OkStatus();
}

}  // namespace

Result<OpenSslPtr<X509>> ParseCertificate(const SecretBytes& file) {
  OpenSslPtr<X509> certificate(PEM_read_bio_X509(BioOf(file).get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) {
    const unsigned char* at = file.data();
    certificate.reset(d2i_X509(nullptr, &at, static_cast<long>(file.size())));
  }
  ERR_clear_error();
  if (certificate == nullptr) {
    return SqlError(15208).WithHint("it is no X.509 certificate, neither PEM nor DER");
  }
  const EVP_PKEY* const key = X509_get0_pubkey(certificate.get());
  ERR_clear_error();
  if (key == nullptr || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA ||
      EVP_PKEY_get_bits(key) < kKeyBitsMin) {
    return SqlError(15208).WithHint("its key is no RSA key of at least 2048 bits");
  }
  return certificate;
}

Result<OpenSslPtr<EVP_PKEY>> ParsePrivateKey(const SecretBytes& file,
                                             const std::string& passphrase) {
  std::string context = passphrase;
  OpenSslPtr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(BioOf(file).get(), nullptr, &GivePassphrase, &context));
  OPENSSL_cleanse(context.data(), context.size());
  if (key == nullptr && passphrase.empty()) {
    const unsigned char* at = file.data();
    key.reset(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(file.size())));
  }
  ERR_clear_error();
  if (key == nullptr) {
    return SqlError(15208).WithHint(
        "it is no private key, or not under this passphrase (PEM, or DER without one)");
  }
  return key;
}

Status CheckPair(const X509& certificate, const EVP_PKEY& key) {
  const bool pair = X509_check_private_key(&certificate, &key) == 1;
  ERR_clear_error();
  return pair ? OkStatus()
              : SqlError(15208).WithHint("the private key is not that of the certificate");
}

SecretBytes CertificatePem(const X509& certificate) {
  const OpenSslPtr<BIO> bio(BIO_new(BIO_s_mem()));
  CAPSTAN_CHECK(bio != nullptr && PEM_write_bio_X509(bio.get(), &certificate) == 1);
  return ContentOf(bio.get());
}

Result<SecretBytes> PrivateKeyPem(const EVP_PKEY& key, const std::string& passphrase) {
  const OpenSslPtr<BIO> bio(BIO_new(BIO_s_secmem()));  // wiped when it goes
  const bool plain = passphrase.empty();
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), &key, plain ? nullptr : EVP_aes_256_cbc(),
                                    plain ? nullptr : passphrase.data(),
                                    static_cast<int>(passphrase.size()), nullptr, nullptr) != 1) {
    ERR_clear_error();
    return Error(Code::kResourceExhausted, "unable to write a private key down");
  }
  return ContentOf(bio.get());
}

CertificateInfo Describe(const Certificate::Keys& keys) {
  const X509* const certificate = keys.certificate.get();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int digest_size = 0;
  CAPSTAN_CHECK(X509_digest(certificate, EVP_sha1(), digest.data(), &digest_size) == 1);
  return {.name = {},
          .subject = NameText(X509_get_subject_name(certificate)),
          .issuer = NameText(X509_get_issuer_name(certificate)),
          .serial_number = SerialText(X509_get0_serialNumber(certificate)),
          .thumbprint = std::string(reinterpret_cast<const char*>(digest.data()), digest_size),
          .not_before_unix_s = UnixSeconds(X509_get0_notBefore(certificate)),
          .not_after_unix_s = UnixSeconds(X509_get0_notAfter(certificate)),
          .has_private_key = keys.private_key != nullptr};
}

Result<Certificate::Keys> MakeSelfSigned(const CertificateRequest& request) {
  Certificate::Keys keys;
  keys.certificate.reset(X509_new());
  X509* const certificate = keys.certificate.get();
  CAPSTAN_CHECK(certificate != nullptr && X509_set_version(certificate, X509_VERSION_3) == 1);
  CAPSTAN_RETURN_IF_ERROR(SetSubject(certificate, request.subject));
  CAPSTAN_RETURN_IF_ERROR(SetDates(certificate, request));
  CAPSTAN_RETURN_IF_ERROR(SetSerial(certificate));
  keys.private_key.reset(EVP_RSA_gen(kKeyBits));
  if (keys.private_key == nullptr || X509_set_pubkey(certificate, keys.private_key.get()) != 1 ||
      X509_sign(certificate, keys.private_key.get(), EVP_sha256()) == 0) {
    ERR_clear_error();
    return Error(Code::kResourceExhausted, "unable to make a key pair");
  }
  return keys;
}

}  // namespace capstan::transform
