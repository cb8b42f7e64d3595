// A bundle: one extent of a PostgreSQL backup, self-describing, so that extents can be restored in
// any order and from any family, and many small files share one.
//
//   payload      the bytes of the entries, in their order, without gaps
//   directory    per entry: kind u8, zero u8, mode u16, offset u64, length u64, path (u16 length,
//                bytes)
//   footer       magic u32, version u16, zero u16, entry count u32, directory bytes u32
//
// Numbers are little endian. The directory stands behind the payload so that pages of a relation
// begin at the beginning of the extent, and are whole in every piece that it is read in.
// Extents of a file of the set (a tablespace, or the log) follow each other without gaps, but for
// what a backup WITH RESTART did not keep: an extent's offset is its position in that virtual file,
// and means nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::writers {

struct BundleEntry {
  enum class Kind : std::uint8_t {
    kFile = 1,      // bytes of a file; with no length, an empty file
    kZeros = 2,     // bytes of a file that are all zero: none of them are in the payload
    kManifest = 3,  // bytes of the manifest (cluster_manifest.h); its path is empty
  };
  Kind kind = Kind::kFile;
  std::uint16_t mode = 0600;  // of the file: permission bits
  std::string path;           // relative to the tablespace, or to the data directory
  std::uint64_t offset = 0;   // in the file
  std::uint64_t length = 0;   // bytes of the file

  std::uint64_t payload_length() const { return kind == Kind::kZeros ? 0 : length; }
};

// An entry of a bundle with its bytes, which lie in the extent that was decoded.
struct BundlePart {
  BundleEntry entry;
  std::span<const std::byte> bytes;  // none of kZeros
};

constexpr std::size_t kBundlePathMax = 1024;
// Room that an extent must have at least.
constexpr std::uint32_t kBundleLengthMin = 16 << 10;

// "base/16384/2619": not empty, not absolute, no empty part, no "." or "..", no zero byte, at most
// kBundlePathMax bytes.
bool IsBundlePath(std::string_view path);

// kDataLoss if the extent is no bundle, whatever its bytes are. What it returns can be used as it
// is: paths are IsBundlePath, offset + length is the position in a file, payloads are in the
// extent.
Result<std::vector<BundlePart>> DecodeBundle(std::span<const std::byte> extent);

// Entries for one extent, gathered until it is full.
class BundleBuilder {
 public:
  // REQUIRES: length_max >= kBundleLengthMin
  explicit BundleBuilder(std::uint32_t length_max);

  // The longest payload that an entry of this path could still have; nullopt: not even an empty
  // one fits.
  std::optional<std::uint32_t> RoomFor(std::string_view path) const;
  // REQUIRES: RoomFor(entry.path) >= entry.payload_length(), and the path IsBundlePath or of a
  // manifest.
  void Add(const BundleEntry& entry);

  bool empty() const { return entry_count_ == 0; }
  std::uint32_t payload_length() const { return payload_length_; }
  // Ends the bundle: what follows the payload in the extent.
  std::vector<std::byte> TakeDirectory();

 private:
  const std::uint32_t length_max_;
  std::uint32_t payload_length_ = 0;
  std::uint32_t entry_count_ = 0;
  std::vector<std::byte> directory_;
};

}  // namespace capstan::writers
