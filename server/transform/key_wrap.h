// Wrapping the key of a backup set, so that it can stand on the medium: under a certificate's RSA
// key (OAEP with SHA-256), or under a passphrase (scrypt, then AES-256-GCM). The bytes of both are
// described in server/media/format.md.
//
// Threads: any; the functions are stateless.
#pragma once

#include <string>
#include <string_view>

#include "server/transform/certificate_store.h"
#include "server/transform/secret_bytes.h"
#include "server/transform/settings.h"
#include "vdi/base/status.h"

namespace capstan::transform {

// 32 random bytes.
Result<SetKey> MakeSetKey();

struct WrappedKey {
  std::string bytes;  // for the medium
  std::string
      thumbprint;  // 20 bytes: of the certificate; or by what the passphrase's wrap is known
};

Result<WrappedKey> WrapKey(const SetKey& key, const Certificate& certificate);
Result<WrappedKey> WrapKey(const SetKey& key, const SecretBytes& passphrase);

// kUnauthenticated: it is not this certificate's, or its private key is not there. kDataLoss:
// `wrapped` is no wrapped key, or one of another kind.
Result<SetKey> UnwrapKey(std::string_view wrapped, const Certificate& certificate);
// kUnauthenticated: the passphrase is wrong. kDataLoss as above; a hostile `wrapped` takes at most
// 256 MiB and a few seconds.
Result<SetKey> UnwrapKey(std::string_view wrapped, const SecretBytes& passphrase);

// The passphrase itself, without the newline at its end. A file that its group or others may read
// is kPermissionDenied; an empty passphrase, or one of more than 1024 bytes, kInvalidArgument; a
// variable that is not set kNotFound.
Result<SecretBytes> ReadPassphrase(const Secret& secret);

}  // namespace capstan::transform
