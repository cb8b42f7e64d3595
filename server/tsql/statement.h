// What a batch says, as plain values: the result of the parser, the input of the executor.
// Names are as written, without quotes and brackets; absent options are nullopt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace capstan::tsql {

enum class DeviceClass { kDisk, kUrl, kTape, kVirtualDevice };

// "DISK", "URL", "TAPE", "VIRTUAL_DEVICE".
std::string_view DeviceClassName(DeviceClass device_class);

struct DeviceClause {
  DeviceClass device_class = DeviceClass::kDisk;
  std::string name;  // path, URL, drive or virtual device name
};

// The WITH options that BACKUP and RESTORE share.
struct TransferOptions {
  std::optional<std::uint32_t> buffer_count;
  std::optional<std::uint32_t> max_transfer_size;  // bytes, multiple of 65536, up to 4 MiB
  std::optional<std::uint32_t> block_size;         // bytes, power of two, 512..65536
  std::optional<int> stats_percent;                // STATS = 10 when written without a value
  std::optional<bool> checksum;                    // CHECKSUM / NO_CHECKSUM
};

enum class CompressionAlgorithm { kZstd, kLz4 };
enum class CompressionLevel { kLow, kMedium, kHigh };

// COMPRESSION [(ALGORITHM = ZSTD | LZ4 [, LEVEL = LOW | MEDIUM | HIGH])], NO_COMPRESSION.
struct CompressionClause {
  bool on = true;
  std::optional<CompressionAlgorithm> algorithm;
  std::optional<CompressionLevel> level;
};

// Where a passphrase is read from. A statement never holds one.
struct PassphraseClause {
  enum class From { kFile, kEnvironment };
  From from = From::kFile;
  std::string name;  // of the file or the variable, both of the server's
};

// ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = name | PASSPHRASE FROM FILE 'path' |
// PASSPHRASE FROM ENVIRONMENT 'name').
struct EncryptionClause {
  std::string certificate;  // empty: there is a passphrase
  std::optional<PassphraseClause> passphrase;
};

struct BackupStatement {
  std::string database;
  std::vector<DeviceClause> devices;               // 1..64, all of one class
  std::vector<std::vector<DeviceClause>> mirrors;  // MIRROR TO, up to 3, each as many as devices
  std::optional<CompressionClause> compression;
  std::optional<EncryptionClause> encryption;
  std::optional<std::int64_t> expire_date_unix_s;  // EXPIREDATE, in the server's time zone
  std::optional<int> retain_days;                  // RETAINDAYS; wins over EXPIREDATE
  bool continue_after_error = false;
  TransferOptions transfer;
  bool format = false;
  bool init = false;
  bool skip = false;
  bool copy_only = false;
  bool snapshot = false;          // SNAPSHOT; then there is one virtual device
  std::string name;               // NAME
  std::string description;        // DESCRIPTION
  std::string media_name;         // MEDIANAME
  std::string media_description;  // MEDIADESCRIPTION
};

struct RestoreStatement {
  std::string database;
  std::vector<DeviceClause> devices;
  TransferOptions transfer;
  bool replace = false;
  bool snapshot = false;  // SNAPSHOT; one virtual device
  bool continue_after_error = false;
  std::uint16_t file_number = 1;                           // FILE = n
  std::vector<std::pair<std::string, std::string>> moves;  // MOVE 'logical' TO 'path'
  std::string media_name;                                  // MEDIANAME; empty: any
  std::string media_password;                              // MEDIAPASSWORD, of SQL Server's media
  std::optional<PassphraseClause> passphrase;
};

// kMediaMap is ours: what every byte of each medium belongs to.
enum class RestoreQuery { kLabelOnly, kHeaderOnly, kFileListOnly, kVerifyOnly, kMediaMap };

// What 3013 calls the statement: "RESTORE FILELIST", "VERIFY DATABASE", ...
std::string_view CommandName(RestoreQuery query);

struct RestoreQueryStatement {
  RestoreQuery query = RestoreQuery::kLabelOnly;
  std::vector<DeviceClause> devices;
  TransferOptions transfer;
  std::uint16_t file_number = 1;
  std::string media_name;      // MEDIANAME; empty: any
  std::string media_password;  // MEDIAPASSWORD, of SQL Server's media
  // VERIFYONLY alone.
  bool continue_after_error = false;
  bool load_history = false;
  std::optional<double> sample_percent;                    // SAMPLE = n PERCENT
  std::vector<std::pair<std::string, std::string>> moves;  // MOVE: is there room at 'path'?
  std::optional<PassphraseClause> passphrase;
};

// EXEC sp_attach_db @dbname = N'sales', @filename1 = N'sqlite:/srv/sales.db'
struct AttachStatement {
  std::string database;
  std::string location;  // "scheme:rest"
};

// EXEC sp_detach_db 'sales'
struct DetachStatement {
  std::string database;
};

// KILL 51
struct KillStatement {
  std::int64_t session_id = 0;
};

// A SELECT, translated for the catalog: object names have dots and brackets replaced by underscores
// (msdb.dbo.backupset -> msdb_dbo_backupset), TOP became LIMIT, N'' lost its N, functions were
// mapped. Only tables and functions from fixed lists get through, and every other name is quoted,
// so that the text is a single SELECT whatever the statement held.
struct SelectStatement {
  std::string sqlite_text;
  std::vector<std::string> live_tables;  // the sys.* names it reads, as "sys.dm_exec_requests"
};

// DBCC TRACEON (3605, 3213, -1) and TRACEOFF. Flags are the server's: -1 changes nothing.
struct TraceStatement {
  std::vector<int> flags;
  bool on = true;
};

enum class LoginAction { kCreate, kAlter, kDrop };

// CREATE LOGIN name WITH PASSWORD = 'text', ALTER LOGIN name WITH PASSWORD = 'text', DROP LOGIN
// name.
struct LoginStatement {
  LoginAction action = LoginAction::kCreate;
  std::string name;
  std::string password;  // empty for DROP
};

struct PrintStatement {
  std::string text;
};

// sp_configure ['name' [, value]]. Shows all options, shows one, or sets one.
struct ConfigureStatement {
  std::string option;  // as written, or part of its name; empty: all
  std::optional<std::int64_t> value;
};

// RECONFIGURE [WITH OVERRIDE]: what was set comes into force.
struct ReconfigureStatement {};

enum class CertificateAction { kCreate, kImport, kExport, kDrop };

// CREATE CERTIFICATE name WITH SUBJECT = 'text' [, START_DATE = 'date'] [, EXPIRY_DATE = 'date'],
// CREATE CERTIFICATE name FROM FILE = 'path' [WITH PRIVATE KEY (FILE = 'path' [, DECRYPTION BY
// PASSWORD = 'text'])], BACKUP CERTIFICATE name TO FILE = 'path' [WITH PRIVATE KEY (FILE = 'path'
// [, ENCRYPTION BY PASSWORD = 'text'])], DROP CERTIFICATE name.
struct CertificateStatement {
  CertificateAction action = CertificateAction::kCreate;
  std::string name;
  std::string subject;              // of kCreate
  std::int64_t start_unix_s = 0;    // likewise; 0: not said
  std::int64_t expiry_unix_s = 0;   // likewise
  std::string file;                 // of kImport and kExport
  std::string key_file;             // likewise; empty: without the private key
  std::string key_file_passphrase;  // of the private key's file
};

// EXEC sp_spaceused @dbname = 'sales'
struct SpaceUsedStatement {
  std::string database;
};

// EXEC master.dbo.xp_create_subdir 'path'
struct CreateFolderStatement {
  std::string path;
};

// EXEC sp_load_history @path = 'path' [, @path2 = 'path' ...]: history from the media there, files
// or folders of them.
struct LoadHistoryStatement {
  std::vector<std::string> paths;  // 1..16
};

using StatementBody =
    std::variant<BackupStatement, RestoreStatement, RestoreQueryStatement, AttachStatement,
                 DetachStatement, KillStatement, SelectStatement, TraceStatement, LoginStatement,
                 PrintStatement, ConfigureStatement, ReconfigureStatement, CertificateStatement,
                 SpaceUsedStatement, CreateFolderStatement, LoadHistoryStatement>;

struct Statement {
  StatementBody body;
  int line = 1;      // in the batch, from 1
  std::string text;  // as written, for history and the job journal; passwords are left out
};

}  // namespace capstan::tsql
