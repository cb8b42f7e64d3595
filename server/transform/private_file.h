// Small files with secrets: read whole, written durably and for their owner alone.
//
// Internal to server/transform. Threads: any.
#pragma once

#include <cstddef>
#include <string>

#include "server/transform/secret_bytes.h"
#include "vdi/base/status.h"

namespace capstan::transform {

// All of a regular file of at most `size_max` bytes; kInvalidArgument beyond. `what` is for
// messages: "the passphrase".
Result<SecretBytes> ReadSmallFile(const std::string& path, const std::string& what,
                                  std::size_t size_max);
// The same of a file that only its owner may open; kPermissionDenied otherwise, with a hint.
Result<SecretBytes> ReadPrivateFile(const std::string& path, const std::string& what,
                                    std::size_t size_max);

// A new file of mode 0600, durable with its name. kAlreadyExists if there is one of that name. On
// failure there is none.
Status CreatePrivateFile(const std::string& path, const SecretBytes& content);

// Removes it, durably. kNotFound.
Status RemoveFile(const std::string& path);

}  // namespace capstan::transform
