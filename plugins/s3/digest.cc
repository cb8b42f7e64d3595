#include "plugins/s3/digest.h"

#include <cerrno>

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace capstan::s3 {
Failure CheckDigests() {
  unsigned char ignored[EVP_MAX_MD_SIZE];
  for (const EVP_MD* const algorithm : {EVP_sha256(), EVP_md5()}) {
    if (EVP_Digest("", 0, ignored, nullptr, algorithm, nullptr) != 1) {
      return Failure::Of(ENOTSUP, "OpenSSL refuses " + std::string(EVP_MD_get0_name(algorithm)) +
                                      ", which S3 needs");
    }
  }
  return Failure::None();
}

Sha256Bytes Sha256(std::string_view text) {
  Sha256Bytes result{};
  EVP_Digest(text.data(), text.size(), result.data(), nullptr, EVP_sha256(), nullptr);
  return result;
}

Sha256Bytes HmacSha256(std::string_view key, std::string_view text) {
  Sha256Bytes result{};
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), result.data(), nullptr);
  return result;
}

Md5Bytes Md5(std::span<const std::byte> bytes) {
  Md5Bytes result{};
  EVP_Digest(bytes.data(), bytes.size(), result.data(), nullptr, EVP_md5(), nullptr);
  return result;
}

std::string HexOf(std::span<const unsigned char> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string result;
  result.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    result += {kDigits[byte >> 4U], kDigits[byte & 15U]};
  }
  return result;
}

std::string Base64Of(std::span<const unsigned char> bytes) {
  std::string result((bytes.size() + 2) / 3 * 4 + 1, '\0');
  result.resize(
      static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(result.data()),
                                               bytes.data(), static_cast<int>(bytes.size()))));
  return result;
}

}  // namespace capstan::s3
