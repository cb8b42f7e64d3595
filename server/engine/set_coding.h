// SetCoding: how the frames of one backup set are compressed and encrypted, with the key in hand.
// Planned before a backup opens its devices, unlocked before a restore touches anything.
//
// Threads: any; constant once made.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/media/authenticator.h"
#include "server/media/backup_set.h"
#include "server/media/payload_form.h"
#include "server/transform/certificate_store.h"
#include "server/transform/frame_cipher.h"
#include "server/transform/secret_bytes.h"
#include "server/transform/settings.h"
#include "vdi/base/status.h"

namespace capstan::engine {

struct SetCoding {
  media::PayloadForm form;
  transform::Compression compression;            // if form.compressed()
  std::shared_ptr<const transform::SetKey> key;  // if form.encrypted(); every worker uses it
  media::SetEncryption encryption;               // likewise: what the medium says of it
  Guid backup_set_guid;
};

// Of a backup to be made. `compression`: nothing for a set that is not compressed. Makes and wraps
// the key: 15151 for a certificate that `certificates` does not hold, 15208 for a passphrase that
// cannot be read.
struct CodingRequest {
  std::optional<transform::Compression> compression;
  std::optional<transform::Encryption> encryption;
};
Result<SetCoding> PlanCoding(const CodingRequest& request,
                             const transform::CertificateStore* certificates);
// What the description of the set says of it.
void DescribeCoding(const SetCoding& coding, media::BackupSet* set);

// By what the keys of sets are unlocked.
struct KeyRing {
  const transform::CertificateStore* certificates = nullptr;
  std::optional<transform::Secret> passphrase;
};
// Of a set on a medium. 33111: its certificate is not here. 65010: the passphrase is missing, or
// not the right one, or the key is damaged; `device` is for that message.
Result<SetCoding> UnlockCoding(const media::BackupSet& set, const KeyRing& keys,
                               const std::string& device);

// Proves what families say with the set's key. One object per family. Threads: one at a time.
class KeyAuthenticator final : public media::Authenticator {
 public:
  explicit KeyAuthenticator(std::shared_ptr<const transform::SetKey> key) : key_(std::move(key)) {}

  Tag HeadTag(std::uint64_t number, std::span<const std::span<const std::byte>> pieces) override;
  void AddToEnd(std::uint64_t number, std::span<const std::byte> piece) override;
  Tag EndTag(std::uint64_t number) override;

 private:
  transform::Authentication& End(std::uint64_t number);

  const std::shared_ptr<const transform::SetKey> key_;
  std::optional<transform::Authentication> end_;
};

}  // namespace capstan::engine
