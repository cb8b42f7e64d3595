#include "server/coordinator/password_hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "vdi/base/check.h"

namespace capstan::coordinator {
namespace {

bool DeriveKey(const PasswordHash& hash, std::string_view password,
               std::array<std::uint8_t, 32>* key) {
  return EVP_PBE_scrypt(password.data(), password.size(), hash.salt.data(), hash.salt.size(),
                        hash.cost, hash.block_size, hash.parallelism, kScryptMemory, key->data(),
                        key->size()) == 1;
}

template <std::size_t kSize>
Status FillRandom(std::array<std::uint8_t, kSize>* bytes) {
  if (RAND_bytes(bytes->data(), static_cast<int>(bytes->size())) != 1) {
    return Error(Code::kUnavailable, "the system has no random numbers");
  }
  return OkStatus();
}

}  // namespace

Result<PasswordHash> HashPassword(std::string_view password) {
  PasswordHash hash;
  CAPSTAN_RETURN_IF_ERROR(FillRandom(&hash.salt));
  if (!DeriveKey(hash, password, &hash.key)) {
    return Error(Code::kResourceExhausted, "unable to derive a key from the password");
  }
  return hash;
}

bool IsPassword(const PasswordHash& hash, std::string_view password) {
  std::array<std::uint8_t, 32> key{};
  const bool derived = DeriveKey(hash, password, &key);
  const bool same = CRYPTO_memcmp(key.data(), hash.key.data(), key.size()) == 0;
  OPENSSL_cleanse(key.data(), key.size());
  return derived && same;
}

Result<ProofKey> MakeProofKey() {
  ProofKey key{};
  CAPSTAN_RETURN_IF_ERROR(FillRandom(&key));
  return key;
}

Proof MakeProof(const ProofKey& key, std::string_view password) {
  Proof proof{};
  std::size_t size = 0;
  const auto* const text = reinterpret_cast<const unsigned char*>(password.data());
  CAPSTAN_CHECK(EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key.data(), key.size(), text,
                          password.size(), proof.data(), proof.size(), &size) != nullptr);
  CAPSTAN_CHECK(size == proof.size());
  return proof;
}

bool SameProof(const Proof& a, const Proof& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace capstan::coordinator
