#include "server/media/media_password.h"

#include <array>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "server/media/mtf_values.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

constexpr std::uint16_t kMd5 = 5;  // MTF 1.00a, appendix on password encryption algorithms
constexpr std::size_t kMd5Size = 16;

}  // namespace

Status CheckMediaPassword(const MediaHeader& header, std::string_view password) {
  if (header.password_digest.empty()) {
    return OkStatus();
  }
  const std::u16string text = ToUtf16(password);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  const bool matches =
      header.password_algorithm == kMd5 && header.password_digest.size() == kMd5Size &&
      EVP_Digest(text.data(), text.size() * sizeof(char16_t), digest.data(), &size, EVP_md5(),
                 nullptr) == 1 &&
      size == kMd5Size && CRYPTO_memcmp(digest.data(), header.password_digest.data(), size) == 0;
  return matches ? OkStatus()
                 : SqlError(3279).WithHint("the medium has a password: MEDIAPASSWORD = '...'");
}

}  // namespace capstan::media
