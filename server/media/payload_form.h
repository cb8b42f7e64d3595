// PayloadForm: how the payload of a set's frames stands in their STAN streams: as it is in the
// database, compressed, encrypted, or both. Which bytes are around it, what they must say, and what
// is authenticated with it; coding itself is done elsewhere.
//
// Threads: any; values and stateless functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "server/media/backup_set.h"
#include "server/media/family_writer.h"

namespace capstan::media {

enum class CodecId : std::uint8_t { kNone = 0, kZstd = 1, kLz4 = 2 };  // in CPFR
enum class CipherId : std::uint8_t { kNone = 0, kAes256Gcm = 1 };      // likewise

// What HEADERONLY's KeyAlgorithm says of the one cipher there is.
inline constexpr char kAes256Name[] = "aes_256";

struct PayloadForm {
  CodecId codec = CodecId::kNone;
  CipherId cipher = CipherId::kNone;

  bool compressed() const { return codec != CodecId::kNone; }
  bool encrypted() const { return cipher != CipherId::kNone; }
  bool plain() const { return !compressed() && !encrypted(); }

  // Bytes of a STAN stream in front of the data: MTF's frame headers EH and FH.
  std::uint32_t lead() const { return (encrypted() ? 24U : 0U) + (compressed() ? 24U : 0U); }
  // Bytes behind the data: the cipher's tag.
  std::uint32_t tail() const { return encrypted() ? 16U : 0U; }

  // Algorithm ids for MTF's own fields; 0: none.
  std::uint16_t codec_algorithm() const;
  std::uint16_t cipher_algorithm() const;

  friend bool operator==(const PayloadForm&, const PayloadForm&) = default;
};

// What the descriptor says; nothing if it names a codec or a cipher that is not known.
std::optional<PayloadForm> PayloadFormOf(const BackupSet& set);

// Writes EH and FH, as `form` has them, to the first form.lead() bytes of `stored`, which is what
// STAN will hold: lead, data and tail. `original_size`: of the payload.
void PutPayloadHeaders(const PayloadForm& form, std::uint32_t original_size,
                       std::span<std::byte> stored);

// Which part of `stored` is encrypted: all between EH and the tag. REQUIRES: form.encrypted(), and
// at least lead and tail.
std::span<std::byte> CiphertextOf(const PayloadForm& form, std::span<std::byte> stored);

// The data of a payload that is not, or no longer, encrypted: checks the headers. Nothing unless
// they are what they must be with these sizes. `*raw`: the data is the payload itself.
std::optional<std::span<const std::byte>> DataOf(const PayloadForm& form,
                                                 std::uint32_t original_size,
                                                 std::span<const std::byte> stored, bool* raw);

// What the cipher authenticates together with a frame.
std::array<std::byte, 48> AssociatedDataOf(const PayloadForm& form, const Guid& backup_set_guid,
                                           const FrameExtent& extent);

}  // namespace capstan::media
