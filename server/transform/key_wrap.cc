#include "server/transform/key_wrap.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "server/transform/certificate_keys.h"
#include "vdi/base/check.h"

namespace capstan::transform {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kThumbprintSize = 20;
constexpr std::uint64_t kScryptMemoryMax = 256U << 20;  // bytes, that a hostile medium may take
constexpr std::uint32_t kScryptParallelismMax = 16;
constexpr std::string_view kThumbprintLabel = "capstan passphrase";

enum class Kind : std::uint8_t { kCertificate = 1, kPassphrase = 2 };

struct WrapHead {
  std::uint8_t version = kVersion;
  Kind kind = Kind::kCertificate;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(WrapHead) == 4);

struct PassphraseWrap {
  WrapHead head{.kind = Kind::kPassphrase};
  std::uint32_t cost = 1U << 15;  // scrypt's N: 32 MiB, a tenth of a second
  std::uint32_t block_size = 8;   // r
  std::uint32_t parallelism = 1;  // p
  std::array<unsigned char, 16> salt{};
  // What is before is authenticated with what follows.
  std::array<unsigned char, 12> nonce{};
  std::array<unsigned char, kSetKeySize> key{};
  std::array<unsigned char, 16> tag{};
};
static_assert(sizeof(PassphraseWrap) == 92);
constexpr std::size_t kAuthenticatedSize = offsetof(PassphraseWrap, nonce);

const unsigned char* In(const void* bytes) {
  return static_cast<const unsigned char*>(bytes);
}

Status NoRandom() {
  return Error(Code::kUnavailable, "the system has no random numbers");
}

Status NotAWrap() {
  return Error(Code::kDataLoss, "the wrapped key of the backup set is damaged");
}

bool ScryptIsPossible(const PassphraseWrap& wrap) {
  const std::uint64_t memory = std::uint64_t{128} * wrap.cost * wrap.block_size;
  return wrap.cost >= 2 && (wrap.cost & (wrap.cost - 1)) == 0 && wrap.block_size >= 1 &&
         wrap.block_size <= 64 && memory <= kScryptMemoryMax && wrap.parallelism >= 1 &&
         wrap.parallelism <= kScryptParallelismMax;
}

Result<SecretBytes> DeriveKey(const PassphraseWrap& wrap, const SecretBytes& passphrase) {
  SecretBytes key(kSetKeySize);
  // What OpenSSL counts beside N x r x 128 is less than the same again.
  if (EVP_PBE_scrypt(reinterpret_cast<const char*>(passphrase.data()), passphrase.size(),
                     wrap.salt.data(), wrap.salt.size(), wrap.cost, wrap.block_size,
                     wrap.parallelism, 2 * kScryptMemoryMax, key.data(), key.size()) != 1) {
    ERR_clear_error();
    return Error(Code::kResourceExhausted, "unable to derive a key from the passphrase");
  }
  return key;
}

struct GcmDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

// Encrypts `from` to `to` and makes the tag, or the reverse and checks it.
bool RunGcm(const SecretBytes& key, bool encrypt, PassphraseWrap* wrap, unsigned char* to,
            const unsigned char* from) {
  const std::unique_ptr<EVP_CIPHER_CTX, GcmDeleter> context(EVP_CIPHER_CTX_new());
  int size = 0;
  std::array<unsigned char, 16> nothing{};
  const int tag_size = static_cast<int>(wrap->tag.size());
  return context != nullptr &&
         EVP_CipherInit_ex2(context.get(), EVP_aes_256_gcm(), key.data(), wrap->nonce.data(),
                            encrypt ? 1 : 0, nullptr) == 1 &&
         (encrypt || EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, tag_size,
                                         wrap->tag.data()) == 1) &&
         EVP_CipherUpdate(context.get(), nullptr, &size, In(wrap), kAuthenticatedSize) == 1 &&
         EVP_CipherUpdate(context.get(), to, &size, from, kSetKeySize) == 1 &&
         EVP_CipherFinal_ex(context.get(), nothing.data(), &size) == 1 &&
         (!encrypt || EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag_size,
                                          wrap->tag.data()) == 1);
}

std::string PassphraseThumbprint(const SetKey& key, const PassphraseWrap& wrap) {
  std::string text(kThumbprintLabel);
  text.append(reinterpret_cast<const char*>(wrap.salt.data()), wrap.salt.size());
  std::array<unsigned char, 32> digest{};
  std::size_t size = 0;
  CAPSTAN_CHECK(EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key.data(), kSetKeySize,
                          In(text.data()), text.size(), digest.data(), digest.size(),
                          &size) != nullptr);
  return std::string(reinterpret_cast<const char*>(digest.data()), kThumbprintSize);
}

OpenSslPtr<EVP_PKEY_CTX> OaepContext(EVP_PKEY* key, bool encrypt) {
  OpenSslPtr<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(key, nullptr));
  const bool ready = context != nullptr &&
                     (encrypt ? EVP_PKEY_encrypt_init(context.get())
                              : EVP_PKEY_decrypt_init(context.get())) == 1 &&
                     EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) == 1 &&
                     EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha256()) == 1 &&
                     EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), EVP_sha256()) == 1;
  return ready ? std::move(context) : nullptr;
}

bool HasHead(std::string_view wrapped, Kind kind) {
  WrapHead head;
  if (wrapped.size() < sizeof(head)) {
    return false;
  }
  std::memcpy(&head, wrapped.data(), sizeof(head));
  return head.version == kVersion && head.kind == kind && head.reserved == 0;
}

}  // namespace

Result<SetKey> MakeSetKey() {
  SecretBytes bytes(kSetKeySize);
  if (RAND_priv_bytes(bytes.data(), kSetKeySize) != 1) {
    return NoRandom();
  }
  return SetKey(std::move(bytes));
}

Result<WrappedKey> WrapKey(const SetKey& key, const Certificate& certificate) {
  EVP_PKEY* const public_key = X509_get0_pubkey(certificate.keys().certificate.get());
  const OpenSslPtr<EVP_PKEY_CTX> context = OaepContext(public_key, true);
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(public_key));
  const WrapHead head;
  std::string bytes(sizeof(head) + size, '\0');
  std::memcpy(bytes.data(), &head, sizeof(head));
  if (context == nullptr ||
      EVP_PKEY_encrypt(context.get(), reinterpret_cast<unsigned char*>(bytes.data()) + sizeof(head),
                       &size, key.data(), kSetKeySize) != 1) {
    ERR_clear_error();
    return Error(Code::kInternal, "unable to wrap a key with certificate '{}'",
                 certificate.info().name);
  }
  bytes.resize(sizeof(head) + size);
  return WrappedKey{.bytes = std::move(bytes), .thumbprint = certificate.info().thumbprint};
}

Result<WrappedKey> WrapKey(const SetKey& key, const SecretBytes& passphrase) {
  PassphraseWrap wrap;
  if (RAND_bytes(wrap.salt.data(), static_cast<int>(wrap.salt.size())) != 1 ||
      RAND_bytes(wrap.nonce.data(), static_cast<int>(wrap.nonce.size())) != 1) {
    return NoRandom();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const SecretBytes derived, DeriveKey(wrap, passphrase));
  CAPSTAN_CHECK(RunGcm(derived, true, &wrap, wrap.key.data(), key.data()));
  return WrappedKey{.bytes = std::string(reinterpret_cast<const char*>(&wrap), sizeof(wrap)),
                    .thumbprint = PassphraseThumbprint(key, wrap)};
}

Result<SetKey> UnwrapKey(std::string_view wrapped, const Certificate& certificate) {
  if (!HasHead(wrapped, Kind::kCertificate)) {
    return NotAWrap();
  }
  EVP_PKEY* const private_key = certificate.keys().private_key.get();
  if (private_key == nullptr) {
    return Error(Code::kUnauthenticated, "the private key of certificate '{}' is not there",
                 certificate.info().name);
  }
  const OpenSslPtr<EVP_PKEY_CTX> context = OaepContext(private_key, false);
  SecretBytes bytes(static_cast<std::size_t>(EVP_PKEY_get_size(private_key)));
  std::size_t size = bytes.size();
  const bool unwrapped =
      context != nullptr &&
      EVP_PKEY_decrypt(context.get(), bytes.data(), &size, In(wrapped.data()) + sizeof(WrapHead),
                       wrapped.size() - sizeof(WrapHead)) == 1 &&
      size == kSetKeySize;
  ERR_clear_error();
  if (!unwrapped) {
    return Error(Code::kUnauthenticated, "it is not wrapped with certificate '{}'",
                 certificate.info().name);
  }
  bytes.Shrink(size);
  return SetKey(std::move(bytes));
}

Result<SetKey> UnwrapKey(std::string_view wrapped, const SecretBytes& passphrase) {
  PassphraseWrap wrap;
  if (!HasHead(wrapped, Kind::kPassphrase) || wrapped.size() != sizeof(wrap)) {
    return NotAWrap();
  }
  std::memcpy(&wrap, wrapped.data(), sizeof(wrap));
  if (!ScryptIsPossible(wrap)) {
    return NotAWrap();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const SecretBytes derived, DeriveKey(wrap, passphrase));
  SecretBytes bytes(kSetKeySize);
  if (!RunGcm(derived, false, &wrap, bytes.data(), wrap.key.data())) {
    ERR_clear_error();
    return Error(Code::kUnauthenticated, "the passphrase is wrong");
  }
  return SetKey(std::move(bytes));
}

}  // namespace capstan::transform
