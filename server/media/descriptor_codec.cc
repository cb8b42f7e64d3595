#include "server/media/descriptor_codec.h"

#include <algorithm>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "capstan/media/v1/descriptor.pb.h"

#include "server/media/capstan_layout.h"
#include "server/media/set_digest.h"

namespace capstan::media {
namespace {

// A file's descriptor holds at least its unique id (18 bytes) and the field's own header.
constexpr std::size_t kFileSizeMin = 20;
constexpr std::size_t kWriterDataSizeMax = 64 << 10;

std::string GuidBytes(const Guid& guid) {
  return std::string(reinterpret_cast<const char*>(guid.bytes.data()), guid.bytes.size());
}

std::optional<Guid> ToGuid(const std::string& bytes) {
  Guid guid;
  if (bytes.size() != guid.bytes.size()) {
    return std::nullopt;
  }
  std::memcpy(guid.bytes.data(), bytes.data(), bytes.size());
  return guid;
}

// Of a GUID that need not be there. False if it is there and none.
bool TakeGuid(const std::string& bytes, Guid* guid) {
  const std::optional<Guid> value = bytes.empty() ? std::optional(Guid()) : ToGuid(bytes);
  *guid = value.value_or(Guid());
  return value.has_value();
}

std::string OptionalGuidBytes(const Guid& guid) {
  return guid.is_zero() ? std::string() : GuidBytes(guid);
}

// Two bytes can ask for an object of hundreds: counts the files before any is made.
bool FileCountIsPlausible(Bytes bytes) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                               static_cast<int>(bytes.size()));
  std::size_t count = 0;
  while (const std::uint32_t tag = input.ReadTag()) {
    count += WireFormatLite::GetTagFieldNumber(tag) == v1::BackupSetDescriptor::kFilesFieldNumber;
    if (count * kFileSizeMin > bytes.size() || !WireFormatLite::SkipField(&input, tag)) {
      return false;
    }
  }
  return true;
}

void EncodeFile(const BackupFile& file, v1::BackupFileDescriptor* out) {
  out->set_unique_id(GuidBytes(file.unique_id));
  out->set_file_id(file.file_id);
  out->set_logical_name(file.logical_name);
  out->set_physical_name(file.physical_name);
  out->set_type(static_cast<unsigned char>(file.type));
  out->set_size_bytes(file.size_bytes);
  out->set_page_size(file.page_size);
  out->set_backup_size_bytes(file.backup_size_bytes);
  out->set_frozen_state(file.frozen_state);
  out->set_partial(!file.whole);
}

std::optional<BackupFile> DecodeFile(const v1::BackupFileDescriptor& in) {
  const std::optional<Guid> unique_id = ToGuid(in.unique_id());
  if (!unique_id || in.type() < 0x20 || in.type() > 0x7E) {
    return std::nullopt;
  }
  return BackupFile{.file_id = in.file_id(),
                    .logical_name = in.logical_name(),
                    .physical_name = in.physical_name(),
                    .type = static_cast<char>(in.type()),
                    .whole = !in.partial(),
                    .size_bytes = in.size_bytes(),
                    .page_size = in.page_size(),
                    .backup_size_bytes = in.backup_size_bytes(),
                    .unique_id = *unique_id,
                    .frozen_state = in.frozen_state()};
}

bool IsPlausible(const v1::BackupSetDescriptor& in) {
  const bool kind = in.kind() == v1::SET_KIND_DATABASE || in.kind() == v1::SET_KIND_LOG ||
                    in.kind() == v1::SET_KIND_DIFFERENTIAL;
  return kind && in.position() >= 1 && in.position() <= 0xFFFF &&
         in.time_zone_quarter_hours() >= -128 && in.time_zone_quarter_hours() <= 127 &&
         in.transfer_size() >= kTransferSizeMin && in.transfer_size() <= kTransferSizeMax &&
         in.transfer_size() % kPhysicalBlock == 0 &&
         (in.digest().empty() || in.digest().size() == kSetDigestSize) &&
         in.writer_data().size() <= kWriterDataSizeMax;
}

void CopyScalars(const v1::BackupSetDescriptor& in, BackupSet* set) {
  set->position = static_cast<std::uint16_t>(in.position());
  set->name = in.name();
  set->description = in.description();
  set->kind = static_cast<SetKind>(in.kind());
  set->copy_only = in.copy_only();
  set->has_checksums = in.has_checksums();
  set->is_snapshot = in.is_snapshot();
  set->is_damaged = in.is_damaged();
  if (in.has_is_read_only()) {
    set->is_read_only = in.is_read_only();
  }
  set->compression_algorithm = in.compression_algorithm();
  set->compressed_size_bytes = in.compressed_size_bytes();
  set->encryption = {.key_algorithm = in.key_algorithm(),
                     .encryptor_type = in.encryptor_type(),
                     .thumbprint = in.encryptor_thumbprint(),
                     .wrapped_key = in.wrapped_key()};
  set->user_name = in.user_name();
  set->server_name = in.server_name();
  set->machine_name = in.machine_name();
  set->database_name = in.database_name();
  set->writer = in.writer();
  set->database_version = in.database_version();
  set->recovery_model = in.recovery_model();
  set->software_major = in.software_major();
  set->software_minor = in.software_minor();
  set->software_build = in.software_build();
  set->first_lsn = in.first_lsn();
  set->last_lsn = in.last_lsn();
  set->checkpoint_lsn = in.checkpoint_lsn();
  set->database_backup_lsn = in.database_backup_lsn();
  set->database_created_unix_s = in.database_created_unix_s();
  set->start_unix_s = in.start_unix_s();
  set->finish_unix_s = in.finish_unix_s();
  set->start_unix_us = in.start_unix_us();
  set->finish_unix_us = in.finish_unix_us();
  set->expiration_unix_s = in.expiration_unix_s();
  set->time_zone_quarter_hours = static_cast<std::int8_t>(in.time_zone_quarter_hours());
  set->transfer_size = in.transfer_size();
  set->backup_size_bytes = in.backup_size_bytes();
  set->digest = in.digest();
}

bool CopyChain(const v1::BackupSetDescriptor& in, BackupSet* set) {
  set->differential_base_lsn = in.differential_base_lsn();
  set->begins_log_chain = in.begins_log_chain();
  set->restarts_log = in.restarts_log();
  set->tail_log = in.tail_log();
  set->writer_data = in.writer_data();
  return TakeGuid(in.differential_base_guid(), &set->differential_base_guid) &&
         TakeGuid(in.recovery_fork(), &set->recovery_fork) &&
         TakeGuid(in.first_recovery_fork(), &set->first_recovery_fork);
}

void EncodeChain(const BackupSet& set, v1::BackupSetDescriptor* out) {
  out->set_differential_base_lsn(set.differential_base_lsn);
  out->set_differential_base_guid(OptionalGuidBytes(set.differential_base_guid));
  out->set_recovery_fork(OptionalGuidBytes(set.recovery_fork));
  out->set_first_recovery_fork(OptionalGuidBytes(set.first_recovery_fork));
  out->set_begins_log_chain(set.begins_log_chain);
  out->set_restarts_log(set.restarts_log);
  out->set_tail_log(set.tail_log);
  out->set_writer_data(set.writer_data);
}

}  // namespace

std::string EncodeDescriptor(const BackupSet& set) {
  v1::BackupSetDescriptor out;
  out.set_backup_set_guid(GuidBytes(set.backup_set_guid));
  out.set_position(set.position);
  out.set_name(set.name);
  out.set_description(set.description);
  out.set_kind(static_cast<v1::SetKind>(set.kind));
  out.set_copy_only(set.copy_only);
  out.set_has_checksums(set.has_checksums);
  out.set_is_snapshot(set.is_snapshot);
  out.set_is_damaged(set.is_damaged);
  out.set_compression_algorithm(set.compression_algorithm);
  out.set_compressed_size_bytes(set.compressed_size_bytes);
  out.set_key_algorithm(set.encryption.key_algorithm);
  out.set_encryptor_type(set.encryption.encryptor_type);
  out.set_encryptor_thumbprint(set.encryption.thumbprint);
  out.set_wrapped_key(set.encryption.wrapped_key);
  out.set_user_name(set.user_name);
  out.set_server_name(set.server_name);
  out.set_machine_name(set.machine_name);
  out.set_database_name(set.database_name);
  out.set_writer(set.writer);
  out.set_database_version(set.database_version);
  out.set_recovery_model(set.recovery_model);
  out.set_software_major(set.software_major);
  out.set_software_minor(set.software_minor);
  out.set_software_build(set.software_build);
  out.set_first_lsn(set.first_lsn);
  out.set_last_lsn(set.last_lsn);
  out.set_checkpoint_lsn(set.checkpoint_lsn);
  out.set_database_backup_lsn(set.database_backup_lsn);
  out.set_database_created_unix_s(set.database_created_unix_s);
  out.set_start_unix_s(set.start_unix_s);
  out.set_finish_unix_s(set.finish_unix_s);
  out.set_start_unix_us(set.start_unix_us);
  out.set_finish_unix_us(set.finish_unix_us);
  out.set_expiration_unix_s(set.expiration_unix_s);
  out.set_time_zone_quarter_hours(set.time_zone_quarter_hours);
  out.set_transfer_size(set.transfer_size);
  out.set_backup_size_bytes(set.backup_size_bytes);
  out.set_digest(set.digest);
  if (set.is_read_only) {
    out.set_is_read_only(*set.is_read_only);
  }
  EncodeChain(set, &out);
  for (const BackupFile& file : set.files) {
    EncodeFile(file, out.add_files());
  }
  return out.SerializeAsString();
}

std::optional<BackupSet> DecodeDescriptor(Bytes bytes) {
  v1::BackupSetDescriptor in;
  if (bytes.size() > kDescriptorSizeMax || !FileCountIsPlausible(bytes) ||
      !in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || !IsPlausible(in)) {
    return std::nullopt;
  }
  BackupSet set;
  const std::optional<Guid> guid = ToGuid(in.backup_set_guid());
  if (!guid || !CopyChain(in, &set)) {
    return std::nullopt;
  }
  set.backup_set_guid = *guid;
  CopyScalars(in, &set);
  set.files.reserve(static_cast<std::size_t>(in.files_size()));
  for (const v1::BackupFileDescriptor& file : in.files()) {
    std::optional<BackupFile> decoded = DecodeFile(file);
    if (!decoded) {
      return std::nullopt;
    }
    set.files.push_back(*std::move(decoded));
  }
  return set;
}

}  // namespace capstan::media
