// What OpenSSL has of a certificate, and how it gets in and out of PEM.
//
// Internal to server/transform. Threads: any.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "server/transform/certificate_store.h"
#include "server/transform/secret_bytes.h"
#include "vdi/base/status.h"

namespace capstan::transform {

struct OpenSslDeleter {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
template <typename T>
using OpenSslPtr = std::unique_ptr<T, OpenSslDeleter>;

struct Certificate::Keys {
  OpenSslPtr<X509> certificate;
  OpenSslPtr<EVP_PKEY> private_key;  // null if it is not there
};

// PEM or DER. 15208 unless it is an X.509 certificate with an RSA key of 2048 bits or more.
Result<OpenSslPtr<X509>> ParseCertificate(const SecretBytes& file);
// PEM, or DER without a passphrase. 15208 unless it is a private key, and the passphrase its own.
Result<OpenSslPtr<EVP_PKEY>> ParsePrivateKey(const SecretBytes& file,
                                             const std::string& passphrase);
// 15208 unless `key` is that of `certificate`.
Status CheckPair(const X509& certificate, const EVP_PKEY& key);

SecretBytes CertificatePem(const X509& certificate);
// PKCS #8; encrypted with AES-256 if there is a passphrase. kResourceExhausted.
Result<SecretBytes> PrivateKeyPem(const EVP_PKEY& key, const std::string& passphrase);

// Everything but the name.
CertificateInfo Describe(const Certificate::Keys& keys);

// A new key pair and a certificate that it signs itself. kInvalidArgument for a subject or dates
// that are not possible.
Result<Certificate::Keys> MakeSelfSigned(const CertificateRequest& request);

}  // namespace capstan::transform
