#include "server/writers/postgres/postgres_set.h"

#include <algorithm>
#include <span>

#include "server/writers/postgres/byte_coding.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kMagic = 0x53504743;  // "CGPS"
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kBytesMax = 64 << 10;
constexpr std::size_t kFolderBytes = 8;

Status Damaged(std::string_view what) {
  return Error(Code::kDataLoss, "what the backup set says of its cluster is damaged: {}", what);
}

void WriteFixed(ByteWriter& writer, const PostgresSet& set) {
  writer.Number(kMagic);
  writer.Number(kVersion);
  writer.Number(set.system_identifier);
  writer.Number(set.timeline);
  writer.Number(set.timeline_begin_lsn);
  writer.Number(set.start_lsn);
  writer.Number(set.start_unix_us);
  writer.Number(set.server_version);
  writer.Number(set.control_version);
  writer.Number(set.catalog_version);
  writer.Number(set.block_bytes);
  writer.Number(set.relation_segment_blocks);
  writer.Number(set.wal_block_bytes);
  writer.Number(set.wal_segment_bytes);
  writer.Number(static_cast<std::uint8_t>(set.data_checksums ? 1 : 0));
  writer.Number(static_cast<std::uint8_t>(set.from_standby ? 1 : 0));
  writer.Text(set.data_directory);
  writer.Text(set.config_file);
  writer.Text(set.hba_file);
  writer.Text(set.ident_file);
}

void ReadFixed(ByteReader& reader, PostgresSet* set) {
  set->system_identifier = reader.Number<std::uint64_t>();
  set->timeline = reader.Number<std::uint32_t>();
  set->timeline_begin_lsn = reader.Number<std::uint64_t>();
  set->start_lsn = reader.Number<std::uint64_t>();
  set->start_unix_us = reader.Number<std::uint64_t>();
  set->server_version = reader.Number<std::uint32_t>();
  set->control_version = reader.Number<std::uint32_t>();
  set->catalog_version = reader.Number<std::uint32_t>();
  set->block_bytes = reader.Number<std::uint32_t>();
  set->relation_segment_blocks = reader.Number<std::uint32_t>();
  set->wal_block_bytes = reader.Number<std::uint32_t>();
  set->wal_segment_bytes = reader.Number<std::uint32_t>();
  set->data_checksums = reader.Number<std::uint8_t>() != 0;
  set->from_standby = reader.Number<std::uint8_t>() != 0;
  set->data_directory = reader.Text();
  set->config_file = reader.Text();
  set->hba_file = reader.Text();
  set->ident_file = reader.Text();
}

bool IsPowerOfTwo(std::uint32_t value, std::uint32_t low, std::uint32_t high) {
  return value >= low && value <= high && (value & (value - 1)) == 0;
}

Status CheckSet(const PostgresSet& set) {
  if (!IsPowerOfTwo(set.block_bytes, 1 << 10, 32 << 10) ||
      !IsPowerOfTwo(set.wal_block_bytes, 1 << 10, 64 << 10) ||
      !IsPowerOfTwo(set.wal_segment_bytes, 1 << 20, 1 << 30)) {
    return Damaged("sizes of its pages cannot be");
  }
  if (!set.data_directory.starts_with('/')) {
    return Damaged("the data directory is not absolute");
  }
  for (const PostgresTablespace& tablespace : set.tablespaces) {
    if (tablespace.oid == 0 || !tablespace.location.starts_with('/')) {
      return Damaged("the location of a tablespace is not absolute");
    }
  }
  return OkStatus();
}

}  // namespace

Result<std::string> EncodePostgresSet(const PostgresSet& set) {
  ByteWriter writer;
  WriteFixed(writer, set);
  writer.Number(static_cast<std::uint32_t>(set.tablespaces.size()));
  for (const PostgresTablespace& tablespace : set.tablespaces) {
    writer.Number(tablespace.oid);
    writer.Text(tablespace.name);
    writer.Text(tablespace.location);
  }
  const std::size_t used = writer.bytes().size() + sizeof(std::uint32_t);
  if (used > kBytesMax) {
    return Error(Code::kResourceExhausted, "{} tablespaces are more than a backup set can name",
                 set.tablespaces.size());
  }
  const std::size_t count =
      std::min(set.database_folders.size(), (kBytesMax - used) / kFolderBytes);
  writer.Number(static_cast<std::uint32_t>(count));
  for (const PostgresDatabaseFolder& folder : std::span(set.database_folders).first(count)) {
    writer.Number(folder.tablespace_oid);
    writer.Number(folder.database_oid);
  }
  return std::string(reinterpret_cast<const char*>(writer.bytes().data()), writer.bytes().size());
}

Result<PostgresSet> DecodePostgresSet(std::string_view bytes) {
  ByteReader reader(std::as_bytes(std::span(bytes)));
  if (reader.Number<std::uint32_t>() != kMagic) {
    return Damaged("it does not begin as it should");
  }
  const auto version = reader.Number<std::uint16_t>();
  if (!reader.ok()) {
    return Damaged("it ends early");
  }
  if (version != kVersion) {
    return Error(Code::kUnimplemented, "backup sets of clusters of version {} are not known",
                 version);
  }
  PostgresSet set;
  ReadFixed(reader, &set);
  const auto tablespace_count = reader.Number<std::uint32_t>();
  for (std::uint32_t i = 0; i < tablespace_count && reader.ok(); ++i) {
    PostgresTablespace& tablespace = set.tablespaces.emplace_back();
    tablespace.oid = reader.Number<std::uint32_t>();
    tablespace.name = reader.Text();
    tablespace.location = reader.Text();
  }
  const auto folder_count = reader.Number<std::uint32_t>();
  for (std::uint32_t i = 0; i < folder_count && reader.ok(); ++i) {
    PostgresDatabaseFolder& folder = set.database_folders.emplace_back();
    folder.tablespace_oid = reader.Number<std::uint32_t>();
    folder.database_oid = reader.Number<std::uint32_t>();
  }
  if (!reader.ok() || reader.rest_size() != 0) {
    return Damaged("it does not end where it should");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckSet(set));
  return set;
}

}  // namespace capstan::writers
