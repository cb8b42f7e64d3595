// Digests as S3 uses them: SHA-256 and HMAC in signatures, MD5 as the checksum of a part.
//
// Threads: any. An OpenSSL that lacks an algorithm is found out by CheckDigests, before anything
// else is used.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "plugins/s3/failure.h"

namespace capstan::s3 {

using Sha256Bytes = std::array<unsigned char, 32>;
using Md5Bytes = std::array<unsigned char, 16>;

// ENOTSUP: this OpenSSL, or its FIPS provider, refuses what S3 needs.
Failure CheckDigests();

Sha256Bytes Sha256(std::string_view text);
Sha256Bytes HmacSha256(std::string_view key, std::string_view text);
Md5Bytes Md5(std::span<const std::byte> bytes);

std::string HexOf(std::span<const unsigned char> bytes);  // lower case
std::string Base64Of(std::span<const unsigned char> bytes);

}  // namespace capstan::s3
