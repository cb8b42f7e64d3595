#include "server/writers/postgres/bundle.h"

#include <limits>

#include "server/writers/postgres/byte_coding.h"
#include "vdi/base/check.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kMagic = 0x42504743;  // "CGPB"
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kFooterBytes = 16;
constexpr std::size_t kEntryBytesMin = 1 + 1 + 2 + 8 + 8 + 2;
constexpr std::uint64_t kFileSizeMax = std::numeric_limits<std::int64_t>::max();
constexpr std::uint16_t kModeMax = 07777;

Status Damaged(std::string_view what) {
  return Error(Code::kDataLoss, "a bundle of files is damaged: {}", what);
}

Status CheckEntry(const BundleEntry& entry) {
  switch (entry.kind) {
    case BundleEntry::Kind::kFile:
    case BundleEntry::Kind::kZeros:
      if (!IsBundlePath(entry.path)) {
        return Damaged("the path of a file leads elsewhere");
      }
      break;
    case BundleEntry::Kind::kManifest:
      if (!entry.path.empty()) {
        return Damaged("its manifest has a path");
      }
      break;
    default:
      return Damaged("an entry is of no known kind");
  }
  if (entry.length > kFileSizeMax || entry.offset > kFileSizeMax - entry.length) {
    return Damaged("an entry lies behind the end of any file");
  }
  const bool may_be_empty = entry.kind == BundleEntry::Kind::kFile && entry.offset == 0;
  if (entry.length == 0 && !may_be_empty) {
    return Damaged("an entry has no bytes");
  }
  return OkStatus();
}

Result<BundleEntry> ReadEntry(ByteReader& reader) {
  BundleEntry entry;
  entry.kind = static_cast<BundleEntry::Kind>(reader.Number<std::uint8_t>());
  const auto zero = reader.Number<std::uint8_t>();
  entry.mode = reader.Number<std::uint16_t>();
  entry.offset = reader.Number<std::uint64_t>();
  entry.length = reader.Number<std::uint64_t>();
  entry.path = reader.Text();
  if (!reader.ok()) {
    return Damaged("its directory ends early");
  }
  if (zero != 0 || entry.mode > kModeMax) {
    return Damaged("an entry has bits that are not known");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckEntry(entry));
  return entry;
}

}  // namespace

bool IsBundlePath(std::string_view path) {
  if (path.empty() || path.size() > kBundlePathMax || path.find('\0') != std::string_view::npos) {
    return false;
  }
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") {
      return false;
    }
    if (slash == std::string_view::npos) {
      return true;
    }
    path.remove_prefix(slash + 1);
  }
}

Result<std::vector<BundlePart>> DecodeBundle(std::span<const std::byte> extent) {
  if (extent.size() < kFooterBytes) {
    return Damaged("it is too short");
  }
  ByteReader footer(extent.last(kFooterBytes));
  if (footer.Number<std::uint32_t>() != kMagic) {
    return Damaged("it does not end as one");
  }
  if (const auto version = footer.Number<std::uint16_t>(); version != kVersion) {
    return Error(Code::kUnimplemented, "bundles of files of version {} are not known", version);
  }
  const auto zero = footer.Number<std::uint16_t>();
  const auto entry_count = footer.Number<std::uint32_t>();
  const auto directory_bytes = footer.Number<std::uint32_t>();
  const std::size_t before_footer = extent.size() - kFooterBytes;
  if (zero != 0 || directory_bytes > before_footer || entry_count == 0 ||
      entry_count > directory_bytes / kEntryBytesMin) {
    return Damaged("its directory does not fit");
  }

  std::span<const std::byte> payload = extent.first(before_footer - directory_bytes);
  ByteReader directory(extent.subspan(payload.size(), directory_bytes));
  std::vector<BundlePart> parts;
  parts.reserve(entry_count);
  for (std::uint32_t i = 0; i < entry_count; ++i) {
    CAPSTAN_ASSIGN_OR_RETURN(BundleEntry entry, ReadEntry(directory));
    const std::uint64_t length = entry.payload_length();
    if (length > payload.size()) {
      return Damaged("the bytes of its entries are not all there");
    }
    const auto bytes = payload.first(static_cast<std::size_t>(length));
    payload = payload.subspan(bytes.size());
    parts.push_back({.entry = std::move(entry), .bytes = bytes});
  }
  if (directory.rest_size() != 0 || !payload.empty()) {
    return Damaged("it has bytes of no entry");
  }
  return parts;
}

BundleBuilder::BundleBuilder(std::uint32_t length_max) : length_max_(length_max) {
  CAPSTAN_CHECK(length_max >= kBundleLengthMin);
}

std::optional<std::uint32_t> BundleBuilder::RoomFor(std::string_view path) const {
  const std::size_t taken =
      payload_length_ + directory_.size() + kEntryBytesMin + path.size() + kFooterBytes;
  if (taken > length_max_) {
    return std::nullopt;
  }
  return length_max_ - static_cast<std::uint32_t>(taken);
}

void BundleBuilder::Add(const BundleEntry& entry) {
  const std::optional<std::uint32_t> room = RoomFor(entry.path);
  CAPSTAN_CHECK(room && entry.payload_length() <= *room && CheckEntry(entry).ok());
  ByteWriter writer;
  writer.Number(static_cast<std::uint8_t>(entry.kind));
  writer.Number(std::uint8_t{0});
  writer.Number(entry.mode);
  writer.Number(entry.offset);
  writer.Number(entry.length);
  writer.Text(entry.path);
  directory_.insert(directory_.end(), writer.bytes().begin(), writer.bytes().end());
  payload_length_ += static_cast<std::uint32_t>(entry.payload_length());
  ++entry_count_;
}

std::vector<std::byte> BundleBuilder::TakeDirectory() {
  ByteWriter footer;
  footer.Number(kMagic);
  footer.Number(kVersion);
  footer.Number(std::uint16_t{0});
  footer.Number(entry_count_);
  footer.Number(static_cast<std::uint32_t>(directory_.size()));
  directory_.insert(directory_.end(), footer.bytes().begin(), footer.bytes().end());
  return std::move(directory_);
}

}  // namespace capstan::writers
