#include "server/transform/frame_cipher.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "server/transform/key_wrap.h"
#include "tests/support/status_matchers.h"

namespace capstan::transform {
namespace {

using test::IsOk;
using Bytes = std::vector<std::byte>;

SetKey KeyOf(std::uint8_t first) {
  SecretBytes bytes(kSetKeySize);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes.span()[i] = static_cast<std::byte>(first + i);
  }
  return SetKey(std::move(bytes));
}

FrameCipher CipherOf(const SetKey& key) {
  auto cipher = FrameCipher::Create(key);
  EXPECT_THAT(cipher, IsOk());
  return std::move(cipher).value();
}

Bytes Pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(i * 7 + 1);
  }
  return bytes;
}

constexpr Nonce kNonce{.domain = NonceDomain::kFrame, .number = 42};

TEST(FrameCipher, DecryptsWhatItEncrypted) {
  FrameCipher cipher = CipherOf(KeyOf(1));
  for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 65536U, 1048577U}) {
    const Bytes plain = Pattern(size);
    Bytes data = plain;

    const Tag tag = cipher.Encrypt(kNonce, Pattern(48), data);

    EXPECT_TRUE(size < 16 || data != plain);
    ASSERT_TRUE(cipher.Decrypt(kNonce, Pattern(48), data, tag));
    EXPECT_TRUE(data == plain);
  }
}

TEST(FrameCipher, FindsEveryFlippedBitOfDataAssociatedDataAndTag) {
  FrameCipher cipher = CipherOf(KeyOf(1));
  const Bytes associated = Pattern(48);
  Bytes sealed = Pattern(100);
  const Tag tag = cipher.Encrypt(kNonce, associated, sealed);
  const auto opens = [&](Bytes data, const Bytes& with, const Tag& by, const Nonce& nonce) {
    const bool opened = cipher.Decrypt(nonce, with, data, by);
    EXPECT_TRUE(opened || std::all_of(data.begin(), data.end(),
                                      [](std::byte b) { return b == std::byte{0}; }));
    return opened;
  };
  ASSERT_TRUE(opens(sealed, associated, tag, kNonce));
  for (int bit = 0; bit < 8; ++bit) {
    const auto flip = static_cast<std::byte>(1 << bit);
    for (std::size_t i = 0; i < sealed.size(); ++i) {
      Bytes bad = sealed;
      bad[i] ^= flip;
      ASSERT_FALSE(opens(bad, associated, tag, kNonce));
    }
    for (std::size_t i = 0; i < associated.size(); ++i) {
      Bytes bad = associated;
      bad[i] ^= flip;
      ASSERT_FALSE(opens(sealed, bad, tag, kNonce));
    }
    for (std::size_t i = 0; i < tag.size(); ++i) {
      Tag bad = tag;
      bad[i] ^= flip;
      ASSERT_FALSE(opens(sealed, associated, bad, kNonce));
    }
  }
  EXPECT_FALSE(opens(sealed, associated, tag, {.domain = NonceDomain::kFrame, .number = 43}));
  EXPECT_FALSE(opens(sealed, associated, tag, {.domain = NonceDomain::kSetEnd, .number = 42}));
  Bytes other = sealed;
  EXPECT_FALSE(CipherOf(KeyOf(2)).Decrypt(kNonce, associated, other, tag));
}

// What another reader has to get.
TEST(FrameCipher, IsAes256Gcm) {
  SecretBytes zero_key(kSetKeySize);
  FrameCipher cipher = CipherOf(SetKey(std::move(zero_key)));
  Bytes data(16);
  // GCM specification, test case 14: key, nonce and plaintext of zeros. Our domains are never 0.
  const Tag tag = cipher.Encrypt({.domain = static_cast<NonceDomain>(0), .number = 0}, {}, data);
  const std::array<std::uint8_t, 16> ciphertext = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e,
                                                   0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18};
  const std::array<std::uint8_t, 16> expected_tag = {0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99,
                                                     0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5,
                                                     0xd4, 0x8a, 0xb9, 0x19};
  for (std::size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(data[i], static_cast<std::byte>(ciphertext[i]));
    EXPECT_EQ(tag[i], static_cast<std::byte>(expected_tag[i]));
  }
}

TEST(Authentication, IsTheSameInAnyPieces) {
  const SetKey key = KeyOf(9);
  const Bytes text = Pattern(1000);
  const auto tag_of = [&](const Nonce& nonce, std::size_t step, std::size_t size) {
    auto authentication = Authentication::Create(key, nonce);
    EXPECT_THAT(authentication, IsOk());
    for (std::size_t at = 0; at < size; at += step) {
      authentication->Add(std::span(text).subspan(at, std::min(step, size - at)));
    }
    return authentication->Finish();
  };
  const Nonce nonce{.domain = NonceDomain::kSetEnd, .number = 2};

  const Tag whole = tag_of(nonce, text.size(), text.size());

  EXPECT_TRUE(SameTag(whole, tag_of(nonce, 24, text.size())));
  EXPECT_TRUE(SameTag(whole, tag_of(nonce, 1, text.size())));
  EXPECT_FALSE(SameTag(whole, tag_of(nonce, 24, text.size() - 24)));
  EXPECT_FALSE(SameTag(whole, tag_of({.domain = NonceDomain::kSetHead, .number = 2}, 24, 1000)));
  EXPECT_FALSE(SameTag(whole, tag_of({.domain = NonceDomain::kSetEnd, .number = 1}, 24, 1000)));
}

}  // namespace
}  // namespace capstan::transform
