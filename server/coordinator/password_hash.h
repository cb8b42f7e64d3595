// Passwords as scrypt keys: what is kept of one, and whether another one is the same.
//
// A key takes kScryptMemory bytes and some hundredths of a second to derive, on purpose. OpenSSL
// stops in the .cc. Pure but for the system's random numbers. Threads: any.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "vdi/base/status.h"

namespace capstan::coordinator {

struct PasswordHash {
  // scrypt's N, r and p, kept with the key so that they can be raised for new ones.
  std::uint32_t cost = 1U << 15;
  std::uint32_t block_size = 8;
  std::uint32_t parallelism = 1;
  std::array<std::uint8_t, 16> salt{};
  std::array<std::uint8_t, 32> key{};
};
inline constexpr std::uint64_t kScryptMemory = std::uint64_t{64} << 20;  // bytes, at most

// With a salt of its own.
Result<PasswordHash> HashPassword(std::string_view password);

// Takes the same time whether the password is right or not. False also if there was not enough
// memory to find out.
bool IsPassword(const PasswordHash& hash, std::string_view password);

// A quick digest of a password under a key that only this process knows: good to recognize a
// password that was proved before, worthless outside of the process.
using ProofKey = std::array<std::uint8_t, 32>;
using Proof = std::array<std::uint8_t, 32>;
Result<ProofKey> MakeProofKey();
Proof MakeProof(const ProofKey& key, std::string_view password);
bool SameProof(const Proof& a, const Proof& b);  // in constant time

}  // namespace capstan::coordinator
