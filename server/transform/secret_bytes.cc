#include "server/transform/secret_bytes.h"

#include <openssl/crypto.h>

#include "vdi/base/check.h"

namespace capstan::transform {

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    Wipe();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void SecretBytes::Shrink(std::size_t size) {
  CAPSTAN_CHECK(size <= bytes_.size());
  OPENSSL_cleanse(bytes_.data() + size, bytes_.size() - size);
  bytes_.resize(size);
}

void SecretBytes::Wipe() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
  bytes_.clear();
}

SetKey::SetKey(SecretBytes bytes) : bytes_(std::move(bytes)) {
  CAPSTAN_CHECK(bytes_.size() == kSetKeySize);
}

}  // namespace capstan::transform
