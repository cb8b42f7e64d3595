#include <algorithm>
#include <cstdlib>

#include "server/transform/key_wrap.h"
#include "server/transform/private_file.h"

namespace capstan::transform {
namespace {

constexpr std::size_t kPassphraseMax = 1024;  // bytes

Result<SecretBytes> ReadVariable(const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  if (value == nullptr) {
    return Error(Code::kNotFound, "the environment variable '{}' is not set", name)
        .WithHint("it is read from the environment of the server, not of the client");
  }
  return SecretBytes(std::as_bytes(std::span(std::string_view(value))));
}

void DropNewline(SecretBytes* text) {
  for (const char end : {'\n', '\r'}) {
    if (!text->empty() && text->data()[text->size() - 1] == static_cast<unsigned char>(end)) {
      text->Shrink(text->size() - 1);
    } else {
      return;
    }
  }
}

}  // namespace

Result<SecretBytes> ReadPassphrase(const Secret& secret) {
  const bool from_file = secret.from == Secret::From::kFile;
  CAPSTAN_ASSIGN_OR_RETURN(SecretBytes passphrase,
                           from_file
                               ? ReadPrivateFile(secret.name, "the passphrase", kPassphraseMax + 2)
                               : ReadVariable(secret.name));
  if (from_file) {
    DropNewline(&passphrase);
  }
  if (passphrase.empty() || passphrase.size() > kPassphraseMax) {
    return Error(Code::kInvalidArgument, "the passphrase in '{}' is {}", secret.name,
                 passphrase.empty() ? "empty" : "longer than 1024 bytes");
  }
  return passphrase;
}

}  // namespace capstan::transform
