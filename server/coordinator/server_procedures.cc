#include "server/coordinator/server_procedures.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <map>
#include <system_error>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "server/catalog/timestamps.h"
#include "server/messages/messages.h"

namespace capstan::coordinator {
namespace {

constexpr double kMegabyte = 1024.0 * 1024.0;
constexpr std::uint64_t kKilobyte = 1024;

std::string Kilobytes(std::uint64_t bytes) {
  return fmt::format("{} KB", (bytes + kKilobyte - 1) / kKilobyte);
}

// SQL Server says "returned error 5, 'Access is denied.'" where elsewhere it prints
// "5(Access is denied.)".
Status FolderError(std::string_view os_error_text, std::string_view hint) {
  const std::size_t open = os_error_text.find('(');
  const std::string text =
      fmt::format("xp_create_subdir() returned error {}, '{}'", os_error_text.substr(0, open),
                  os_error_text.substr(open + 1, os_error_text.size() - open - 2));
  return SqlError(22048, text).WithHint(std::string(hint));
}

struct Volume {
  std::string path;  // of a file on it, for messages
  std::uint64_t needed = 0;
  std::uint64_t free = 0;
};

// Adds a file that is to go to `path` to the volume there.
Status AddToVolume(const media::BackupFile& file, const std::string& said, const std::string& path,
                   std::map<dev_t, Volume>& volumes) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  struct stat info {};
  struct statvfs space {};
  if (path.empty() || path.front() != '/' || ::stat(folder.c_str(), &info) != 0 ||
      ::statvfs(folder.c_str(), &space) != 0) {
    return SqlError(3156, file.logical_name, said)
        .WithHint(fmt::format("the folder '{}' must exist", folder));
  }
  Volume& volume = volumes[info.st_dev];
  volume.path = folder;
  volume.free = std::uint64_t{space.f_bavail} * space.f_frsize;
  volume.needed += file.size_bytes;
  struct stat old {};
  if (::stat(path.c_str(), &old) == 0) {
    volume.free += static_cast<std::uint64_t>(old.st_size);  // it makes room for the new one
  }
  return OkStatus();
}

Result<std::string> MappedFile(const DriveMap& drives, const std::string& path) {
  if (path.empty()) {
    return path;
  }
  auto mapped = drives.Map(path);
  return mapped.ok() ? std::move(mapped)
                     : SqlError(15208).WithHint(std::string(mapped.status().hint()));
}

std::string HexText(std::string_view bytes) {
  std::string text = "0x";
  for (const char byte : bytes) {
    text += fmt::format("{:02X}", static_cast<unsigned char>(byte));
  }
  return text;
}

}  // namespace

std::pair<catalog::Table, catalog::Table> SpaceUsedTables(
    std::string_view database, const writers::DatabaseDescription& description) {
  std::uint64_t bytes = 0;
  for (const writers::DatabaseFile& file : description.files) {
    bytes += file.size_bytes;
  }
  catalog::Table sizes;
  sizes.columns = {{"database_name", "nvarchar(128)"},
                   {"database_size", "varchar(18)"},
                   {"unallocated space", "varchar(18)"}};
  sizes.rows.push_back({std::string(database),
                        fmt::format("{:.2f} MB", static_cast<double>(bytes) / kMegabyte),
                        "0.00 MB"});
  catalog::Table use;
  use.columns = {{"reserved", "varchar(18)"},
                 {"data", "varchar(18)"},
                 {"index_size", "varchar(18)"},
                 {"unused", "varchar(18)"}};
  // Writers do not tell tables, indexes and free pages apart, and a full backup has them all.
  use.rows.push_back({Kilobytes(bytes), Kilobytes(bytes), "0 KB", "0 KB"});
  return {std::move(sizes), std::move(use)};
}

Status CreateFolder(const DriveMap& drives, const std::string& path) {
  const auto mapped = drives.Map(path);
  if (!mapped.ok()) {
    return FolderError(kPathNotFound, mapped.status().hint());
  }
  if (mapped->empty() || mapped->front() != '/') {
    return FolderError(OsErrorText(EINVAL), "write an absolute path");
  }
  std::error_code error;
  std::filesystem::create_directories(*mapped, error);
  if (error) {
    return FolderError(OsErrorText(error.value()),
                       fmt::format("capstand makes '{}' with its own account's rights", *mapped));
  }
  return OkStatus();
}

Status CheckRoom(const DriveMap& drives, const media::BackupSet& set,
                 const std::vector<std::pair<std::string, std::string>>& moves) {
  std::map<dev_t, Volume> volumes;
  for (const auto& [logical_name, said] : moves) {
    const auto file = std::find_if(
        set.files.begin(), set.files.end(),
        [&, &name = logical_name](const media::BackupFile& f) { return f.logical_name == name; });
    if (file == set.files.end()) {
      return SqlError(3234, logical_name, set.database_name);
    }
    const auto path = drives.Map(said);
    if (!path.ok()) {
      return SqlError(3156, logical_name, said).WithHint(std::string(path.status().hint()));
    }
    CAPSTAN_RETURN_IF_ERROR(AddToVolume(*file, said, *path, volumes));
  }
  for (const auto& [device, volume] : volumes) {
    if (volume.needed > volume.free) {
      return SqlError(3257, volume.path, volume.needed - volume.free, volume.free);
    }
  }
  return OkStatus();
}

Status RunCertificateStatement(transform::CertificateStore& certificates, const DriveMap& drives,
                               const tsql::CertificateStatement& statement) {
  CAPSTAN_ASSIGN_OR_RETURN(std::string file, MappedFile(drives, statement.file));
  CAPSTAN_ASSIGN_OR_RETURN(std::string key_file, MappedFile(drives, statement.key_file));
  const transform::CertificateFiles files{.certificate = std::move(file),
                                          .private_key = std::move(key_file),
                                          .private_key_passphrase = statement.key_file_passphrase};
  switch (statement.action) {
    case tsql::CertificateAction::kCreate:
      return certificates
          .Create({.name = statement.name,
                   .subject = statement.subject,
                   .not_before_unix_s = statement.start_unix_s,
                   .not_after_unix_s = statement.expiry_unix_s})
          .status();
    case tsql::CertificateAction::kImport:
      return certificates.Import(statement.name, files).status();
    case tsql::CertificateAction::kExport:
      return certificates.Export(statement.name, files);
    case tsql::CertificateAction::kDrop:
      break;
  }
  return certificates.Remove(statement.name);
}

Result<catalog::Table> CertificatesTable(const transform::CertificateStore& certificates) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto list, certificates.List());
  catalog::Table table;
  table.columns = {{"name", "nvarchar(128)"},
                   {"certificate_id", "int"},
                   {"principal_id", "int"},
                   {"pvt_key_encryption_type", "char(2)"},
                   {"pvt_key_encryption_type_desc", "nvarchar(60)"},
                   {"is_active_for_begin_dialog", "bit"},
                   {"issuer_name", "nvarchar(442)"},
                   {"cert_serial_number", "nvarchar(64)"},
                   {"subject", "nvarchar(4000)"},
                   {"expiry_date", "datetime"},
                   {"start_date", "datetime"},
                   {"thumbprint", "varbinary(32)"}};
  // 256 is the first that SQL Server gives to a user's certificate.
  int certificate_id = 256;
  for (const transform::CertificateInfo& info : list) {
    // Private keys lie in files that only the server's account can read, without a password.
    table.rows.push_back(
        {info.name, fmt::to_string(certificate_id++), "1", info.has_private_key ? "NE" : "NA",
         info.has_private_key ? "NO_ENCRYPTION" : "NO_PRIVATE_KEY", "0", info.issuer,
         info.serial_number, info.subject, catalog::LocalDateTime(info.not_after_unix_s),
         catalog::LocalDateTime(info.not_before_unix_s), HexText(info.thumbprint)});
  }
  return table;
}

}  // namespace capstan::coordinator
