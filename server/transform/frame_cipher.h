// FrameCipher: AES-256-GCM with the key of one backup set: encrypts and decrypts frames in place,
// and authenticates what is not secret (GMAC).
//
// GCM must never see one nonce twice under one key. A nonce is 4 bytes that say what it is for, and
// 8 bytes that are unique in that: a frame's sequence number, a family's number. The key is a set's
// own, so that these are unique in all that it ever encrypts.
// Threads: one at a time per object; every worker has its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "server/transform/secret_bytes.h"
#include "vdi/base/status.h"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX

namespace capstan::transform {

inline constexpr std::size_t kTagSize = 16;
using Tag = std::array<std::byte, kTagSize>;

// What a nonce is for; the values stand on media.
enum class NonceDomain : std::uint32_t {
  kFrame = 1,    // number: the frame's sequence
  kSetHead = 2,  // number: how often the backup was gone on with << 32 | the family's
  kSetEnd = 3,   // likewise
};

struct Nonce {
  NonceDomain domain = NonceDomain::kFrame;
  std::uint64_t number = 0;
};

struct CipherContextDeleter {
  void operator()(evp_cipher_ctx_st* context) const;
};
using CipherContext = std::unique_ptr<evp_cipher_ctx_st, CipherContextDeleter>;

class FrameCipher {
 public:
  // `key` is not needed afterwards. kResourceExhausted without memory.
  static Result<FrameCipher> Create(const SetKey& key);

  // Encrypts `data` in place; `associated` is authenticated with it. The tag goes behind it.
  Tag Encrypt(const Nonce& nonce, std::span<const std::byte> associated, std::span<std::byte> data);
  // The reverse. False if anything is not as it was encrypted; `data` is then zeros.
  bool Decrypt(const Nonce& nonce, std::span<const std::byte> associated, std::span<std::byte> data,
               const Tag& tag);

 private:
  FrameCipher(CipherContext encrypt, CipherContext decrypt)
      : encrypt_(std::move(encrypt)), decrypt_(std::move(decrypt)) {}

  CipherContext encrypt_;
  CipherContext decrypt_;
};

// The GMAC of one text that arrives in pieces.
class Authentication {
 public:
  static Result<Authentication> Create(const SetKey& key, const Nonce& nonce);

  void Add(std::span<const std::byte> piece);
  // Once, at the end.
  Tag Finish();

 private:
  explicit Authentication(CipherContext context) : context_(std::move(context)) {}

  CipherContext context_;
};

bool SameTag(const Tag& a, const Tag& b);  // takes the same time wherever they differ

}  // namespace capstan::transform
