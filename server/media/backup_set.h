// What a medium says about itself and about the backup sets on it: plain values, as LABELONLY,
// HEADERONLY and FILELISTONLY show them. No I/O, no Protobuf, no threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vdi/base/guid.h"

namespace capstan::media {

inline constexpr std::uint32_t kFormatLogicalBlock = 1024;  // FLB of everything that we write
inline constexpr std::uint32_t kPhysicalBlock = 4096;       // soft filemarks, alignment of sets
inline constexpr std::uint16_t kSoftwareVendorId = 0x4350;  // ours
inline constexpr std::uint16_t kSqlServerVendorId = 0x1200;

// The media header (TAPE block) of one family.
struct MediaHeader {
  Guid media_set_id;
  std::uint16_t family_count = 1;
  std::uint16_t family_number = 1;  // from 1
  std::uint32_t media_family_id = 0;
  std::uint16_t media_sequence_number = 1;  // from 1
  std::uint16_t mirror_count = 1;
  bool compressed = false;  // all its backup sets are, or none
  bool encrypted = false;   // likewise
  std::string name;         // MEDIANAME, up to 128 characters
  std::string description;  // MEDIADESCRIPTION, up to 255 characters
  bool description_is_label = false;
  std::string software_name = "Capstan";
  std::uint16_t software_vendor_id = kSoftwareVendorId;
  std::int64_t date_unix_s = 0;
  // Of other programs' media: the same in the local time of their server, as the medium has it.
  std::string local_date;
  bool by_other_program = false;  // then what media_set_id tells of may be unknown
  std::uint16_t password_algorithm = 0;
  std::string password_digest;  // empty: no media password
};

enum class SetKind : std::uint8_t {
  kDatabase = 1,
  kLog = 2,
  kDifferential = 5
};  // HEADERONLY BackupType

struct BackupFile {
  std::uint32_t file_id = 1;
  std::string logical_name;
  std::string physical_name;
  char type = 'D';
  // False: the set holds parts of it only, or what it holds is no image of a file.
  bool whole = true;
  std::uint64_t size_bytes = 0;  // of the file
  std::uint32_t page_size = 0;
  std::uint64_t backup_size_bytes = 0;  // payload bytes in the set, over all families
  Guid unique_id;
  // Of a snapshot set only: by what its writer recognises the file as it was when it was frozen.
  std::string frozen_state;
};

// How a set is encrypted and who can open it; all empty if it is not. The key itself is random, of
// this set alone, and lies here wrapped.
struct SetEncryption {
  std::string key_algorithm;   // HEADERONLY KeyAlgorithm: "aes_256"
  std::string encryptor_type;  // HEADERONLY EncryptorType: "CERTIFICATE", "PASSPHRASE"
  std::string thumbprint;      // 20 bytes: of the certificate, or by what a passphrase is known
  std::string wrapped_key;     // the key under the certificate or the passphrase, and what it takes

  friend bool operator==(const SetEncryption&, const SetEncryption&) = default;
};

// A point in time as well as it is known, microseconds since 1970: the same twice, or the first and
// the last microsecond of a second.
struct Moment {
  std::int64_t earliest_us = 0;
  std::int64_t latest_us = 0;
};

struct BackupSet {
  Guid backup_set_guid;
  std::uint16_t position = 1;  // on the medium, from 1
  std::string name;            // NAME, up to 128 characters
  std::string description;     // DESCRIPTION, up to 255 characters
  SetKind kind = SetKind::kDatabase;
  bool copy_only = false;
  bool has_checksums = false;  // WITH CHECKSUM
  bool is_snapshot = false;    // WITH SNAPSHOT: no frame; the files are in the client's snapshot
  bool is_damaged = false;     // WITH CONTINUE_AFTER_ERROR, and there were errors
  // Nobody could write to the database. Nullopt in sets that are older than this.
  std::optional<bool> is_read_only;
  // Which codec its frames have: "ZSTD", "LZ4"; empty = not compressed.
  std::string compression_algorithm;
  SetEncryption encryption;
  std::string user_name;
  std::string server_name;
  std::string machine_name;
  std::string database_name;
  std::string writer;            // "sqlite"
  std::string database_version;  // of the database software
  std::string recovery_model;    // "FULL", "SIMPLE"
  std::uint32_t software_major = 0;
  std::uint32_t software_minor = 1;
  std::uint32_t software_build = 0;
  std::uint64_t first_lsn = 0;
  std::uint64_t last_lsn = 0;
  std::uint64_t checkpoint_lsn = 0;
  std::uint64_t database_backup_lsn = 0;  // checkpoint_lsn of the newest full backup before it
  // Of a differential one: what it was measured against.
  std::uint64_t differential_base_lsn = 0;  // its checkpoint_lsn
  Guid differential_base_guid;              // its backup_set_guid
  // The line of history that the database was on at the end, and of a log backup, the one that it
  // goes on from. Null: its writer knows none.
  Guid recovery_fork;
  Guid first_recovery_fork;
  bool begins_log_chain = false;  // no log backup can come before it
  bool restarts_log = false;      // of a full or differential one: log backups begin at its end
  bool tail_log = false;          // a log backup WITH NORECOVERY: the database was closed after it
  std::string writer_data;        // BackupSession::writer_data(), up to 64 KiB
  std::int64_t database_created_unix_s = 0;
  std::int64_t start_unix_s = 0;
  std::int64_t finish_unix_s = 0;  // 0 in the copy at the beginning of the set
  // The same to the microsecond; 0: only the second is known, as in sets that are older than this.
  std::int64_t start_unix_us = 0;
  std::int64_t finish_unix_us = 0;
  std::int64_t expiration_unix_s = 0;  // 0 = none
  std::int8_t time_zone_quarter_hours = 0;
  std::uint32_t transfer_size = 0;  // bytes; a frame fills exactly one transfer
  // Payload over all families, before the codec; 0 at the beginning.
  std::uint64_t backup_size_bytes = 0;
  std::uint64_t compressed_size_bytes = 0;  // the same as it is stored; 0 at the beginning
  // SetDigest of its frames, 32 bytes; empty at the beginning, in a snapshot set, and in sets that
  // were made before there was one.
  std::string digest;
  std::vector<BackupFile> files;

  Moment started() const { return MomentOf(start_unix_us, start_unix_s); }
  Moment finished() const { return MomentOf(finish_unix_us, finish_unix_s); }
  void SetStart(std::int64_t unix_us) {
    start_unix_us = unix_us;
    start_unix_s = unix_us / 1'000'000;
  }
  void SetFinish(std::int64_t unix_us) {
    finish_unix_us = unix_us;
    finish_unix_s = unix_us / 1'000'000;
  }
  bool compressed() const { return !compression_algorithm.empty(); }
  bool encrypted() const { return !encryption.key_algorithm.empty(); }

 private:
  static Moment MomentOf(std::int64_t unix_us, std::int64_t unix_s) {
    return unix_us != 0 ? Moment{unix_us, unix_us}
                        : Moment{unix_s * 1'000'000, unix_s * 1'000'000 + 999'999};
  }
};

}  // namespace capstan::media
