#include "server/transform/frame_cipher.h"

#include <algorithm>
#include <cstring>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "vdi/base/check.h"

namespace capstan::transform {
namespace {

using NonceBytes = std::array<unsigned char, 12>;

NonceBytes BytesOf(const Nonce& nonce) {
  NonceBytes bytes{};
  const auto domain = static_cast<std::uint32_t>(nonce.domain);
  std::memcpy(bytes.data(), &domain, sizeof(domain));
  std::memcpy(bytes.data() + sizeof(domain), &nonce.number, sizeof(nonce.number));
  return bytes;
}

const unsigned char* In(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* Out(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

// Frames have at most 16 MiB; larger pieces of associated data go in parts.
constexpr std::size_t kPieceMax = std::size_t{1} << 30;

Result<CipherContext> MakeContext(const SetKey& key, bool encrypt) {
  CipherContext context(EVP_CIPHER_CTX_new());
  if (context == nullptr || EVP_CipherInit_ex2(context.get(), EVP_aes_256_gcm(), key.data(),
                                               nullptr, encrypt ? 1 : 0, nullptr) != 1) {
    return Error(Code::kResourceExhausted, "no memory to encrypt with");
  }
  return context;
}

}  // namespace

void CipherContextDeleter::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);  // wipes the key
}

Result<FrameCipher> FrameCipher::Create(const SetKey& key) {
  CAPSTAN_ASSIGN_OR_RETURN(CipherContext encrypt, MakeContext(key, true));
  CAPSTAN_ASSIGN_OR_RETURN(CipherContext decrypt, MakeContext(key, false));
  return FrameCipher(std::move(encrypt), std::move(decrypt));
}

// With a context that has its key, and lengths within its limits, nothing of this can fail.
Tag FrameCipher::Encrypt(const Nonce& nonce, std::span<const std::byte> associated,
                         std::span<std::byte> data) {
  CAPSTAN_CHECK(associated.size() <= kPieceMax && data.size() <= kPieceMax);
  evp_cipher_ctx_st* const context = encrypt_.get();
  const NonceBytes iv = BytesOf(nonce);
  int size = 0;
  CAPSTAN_CHECK(EVP_EncryptInit_ex2(context, nullptr, nullptr, iv.data(), nullptr) == 1);
  CAPSTAN_CHECK(EVP_EncryptUpdate(context, nullptr, &size, In(associated),
                                  static_cast<int>(associated.size())) == 1);
  CAPSTAN_CHECK(
      EVP_EncryptUpdate(context, Out(data), &size, In(data), static_cast<int>(data.size())) == 1);
  Tag tag;
  CAPSTAN_CHECK(EVP_EncryptFinal_ex(context, Out(tag), &size) == 1 && size == 0);
  CAPSTAN_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagSize, tag.data()) == 1);
  return tag;
}

bool FrameCipher::Decrypt(const Nonce& nonce, std::span<const std::byte> associated,
                          std::span<std::byte> data, const Tag& tag) {
  CAPSTAN_CHECK(associated.size() <= kPieceMax && data.size() <= kPieceMax);
  evp_cipher_ctx_st* const context = decrypt_.get();
  const NonceBytes iv = BytesOf(nonce);
  Tag expected = tag;  // OpenSSL asks for a tag that it could change
  int size = 0;
  CAPSTAN_CHECK(EVP_DecryptInit_ex2(context, nullptr, nullptr, iv.data(), nullptr) == 1);
  CAPSTAN_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagSize, expected.data()) ==
                1);
  CAPSTAN_CHECK(EVP_DecryptUpdate(context, nullptr, &size, In(associated),
                                  static_cast<int>(associated.size())) == 1);
  CAPSTAN_CHECK(
      EVP_DecryptUpdate(context, Out(data), &size, In(data), static_cast<int>(data.size())) == 1);
  if (EVP_DecryptFinal_ex(context, Out(expected), &size) == 1) {
    return true;
  }
  OPENSSL_cleanse(data.data(), data.size());
  return false;
}

Result<Authentication> Authentication::Create(const SetKey& key, const Nonce& nonce) {
  CAPSTAN_ASSIGN_OR_RETURN(CipherContext context, MakeContext(key, true));
  const NonceBytes iv = BytesOf(nonce);
  CAPSTAN_CHECK(EVP_EncryptInit_ex2(context.get(), nullptr, nullptr, iv.data(), nullptr) == 1);
  return Authentication(std::move(context));
}

void Authentication::Add(std::span<const std::byte> piece) {
  while (!piece.empty()) {
    const auto part = piece.first(std::min(piece.size(), kPieceMax));
    int size = 0;
    CAPSTAN_CHECK(EVP_EncryptUpdate(context_.get(), nullptr, &size, In(part),
                                    static_cast<int>(part.size())) == 1);
    piece = piece.subspan(part.size());
  }
}

Tag Authentication::Finish() {
  Tag tag;
  int size = 0;
  CAPSTAN_CHECK(EVP_EncryptFinal_ex(context_.get(), Out(tag), &size) == 1);
  CAPSTAN_CHECK(EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, tag.data()) ==
                1);
  return tag;
}

bool SameTag(const Tag& a, const Tag& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace capstan::transform
