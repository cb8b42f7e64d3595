#include "server/writers/postgres/cluster_manifest.h"

#include <limits>
#include <string_view>

#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/byte_coding.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kMagic = 0x4d504743;  // "CGPM"
constexpr std::uint16_t kVersion = 1;
// Of the shortest entry: place and path.
constexpr std::size_t kItemBytesMin = 4 + 2;

Status Damaged(std::string_view what) {
  return Error(Code::kDataLoss, "the manifest of the cluster is damaged: {}", what);
}

// `read` appends one item; false ends it all.
template <typename Item, typename Read>
Status ReadList(ByteReader& reader, std::vector<Item>* list, Read read) {
  const auto count = reader.Number<std::uint32_t>();
  if (count > reader.rest_size() / kItemBytesMin) {
    return Damaged("it ends early");
  }
  list->reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    Item& item = list->emplace_back();
    item.place = reader.Number<std::uint32_t>();
    read(&item);
    if (!reader.ok()) {
      return Damaged("it ends early");
    }
    if (!IsBundlePath(item.path)) {
      return Damaged("the path of a file leads elsewhere");
    }
  }
  return OkStatus();
}

}  // namespace

std::vector<std::byte> EncodeManifest(const ClusterManifest& manifest) {
  ByteWriter writer;
  writer.Number(kMagic);
  writer.Number(kVersion);
  writer.Number(manifest.stop_lsn);
  writer.Number(manifest.timeline);
  writer.Number(static_cast<std::uint32_t>(manifest.directories.size()));
  for (const ClusterManifest::Directory& directory : manifest.directories) {
    writer.Number(directory.place);
    writer.Number(directory.mode);
    writer.Text(directory.path);
  }
  writer.Number(static_cast<std::uint32_t>(manifest.files.size()));
  for (const ClusterManifest::File& file : manifest.files) {
    writer.Number(file.place);
    writer.Number(file.mode);
    writer.Number(file.size_bytes);
    writer.Text(file.path);
  }
  writer.Number(static_cast<std::uint32_t>(manifest.vanished.size()));
  for (const ClusterManifest::Vanished& vanished : manifest.vanished) {
    writer.Number(vanished.place);
    writer.Text(vanished.path);
  }
  return std::move(writer.bytes());
}

Result<ClusterManifest> DecodeManifest(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  if (reader.Number<std::uint32_t>() != kMagic) {
    return Damaged("it does not begin as one");
  }
  const auto version = reader.Number<std::uint16_t>();
  if (!reader.ok()) {
    return Damaged("it ends early");
  }
  if (version != kVersion) {
    return Error(Code::kUnimplemented, "manifests of version {} are not known", version);
  }
  ClusterManifest manifest;
  manifest.stop_lsn = reader.Number<std::uint64_t>();
  manifest.timeline = reader.Number<std::uint32_t>();
  CAPSTAN_RETURN_IF_ERROR(
      ReadList(reader, &manifest.directories, [&](ClusterManifest::Directory* directory) {
        directory->mode = reader.Number<std::uint16_t>();
        directory->path = reader.Text();
      }));
  CAPSTAN_RETURN_IF_ERROR(ReadList(reader, &manifest.files, [&](ClusterManifest::File* file) {
    file->mode = reader.Number<std::uint16_t>();
    file->size_bytes = reader.Number<std::uint64_t>();
    file->path = reader.Text();
  }));
  CAPSTAN_RETURN_IF_ERROR(
      ReadList(reader, &manifest.vanished,
               [&](ClusterManifest::Vanished* vanished) { vanished->path = reader.Text(); }));
  if (!reader.ok() || reader.rest_size() != 0) {
    return Damaged("it does not end where it should");
  }
  for (const ClusterManifest::File& file : manifest.files) {
    if (file.size_bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return Damaged("a file is larger than any");
    }
  }
  return manifest;
}

}  // namespace capstan::writers
