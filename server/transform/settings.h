// What a statement asks of the transform between a database's pages and the bytes on a medium, as
// plain values. No secret is ever in here: only where to find one.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace capstan::transform {

enum class Algorithm : std::uint8_t { kZstd = 1, kLz4 = 2 };
enum class Level : std::uint8_t { kLow, kMedium, kHigh };

struct Compression {
  Algorithm algorithm = Algorithm::kZstd;
  Level level = Level::kLow;
};

// Where a passphrase is read from, on the server.
struct Secret {
  enum class From : std::uint8_t { kFile, kEnvironment };
  From from = From::kFile;
  std::string name;  // of the file or the environment variable
};

// A certificate of the server's store, by name.
struct CertificateName {
  std::string name;
};

// Always AES-256-GCM with a random key per backup set; this is by what that key is wrapped.
struct Encryption {
  std::variant<CertificateName, Secret> encryptor;
};

}  // namespace capstan::transform
