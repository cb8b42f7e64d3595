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
  std::optional<std::uint32_t> max_rate_mb;        // MAXRATE: MiB/s of all devices together
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

// What BACKUP LOG is asked to do with the database.
enum class LogTail { kNone, kNoRecovery, kNoTruncate };

struct BackupStatement {
  std::string database;                            // empty: `databases` says which
  std::vector<std::string> databases;              // BACKUP DATABASES [a, b*]: names and patterns
  bool exclude = false;                            // EXCLUDE: all databases but those
  bool log = false;                                // BACKUP LOG, BACKUP LOGS
  std::vector<DeviceClause> devices;               // 1..64, all of one class
  std::vector<std::vector<DeviceClause>> mirrors;  // MIRROR TO, up to 3, each as many as devices
  std::optional<CompressionClause> compression;
  std::optional<EncryptionClause> encryption;
  std::optional<std::int64_t> expire_date_unix_s;  // EXPIREDATE, in the server's time zone
  std::optional<int> retain_days;                  // RETAINDAYS; wins over EXPIREDATE
  bool continue_after_error = false;
  bool restart = false;  // RESTART; of a full backup
  TransferOptions transfer;
  bool format = false;
  bool init = false;
  bool skip = false;
  bool copy_only = false;
  bool differential = false;
  LogTail tail = LogTail::kNone;  // of BACKUP LOG
  bool snapshot = false;          // SNAPSHOT; then there is one virtual device
  std::string name;               // NAME
  std::string description;        // DESCRIPTION
  std::string media_name;         // MEDIANAME
  std::string media_description;  // MEDIADESCRIPTION
};

// STOPAT = 'time', STOPATMARK = 'mark' [AFTER 'time'], STOPBEFOREMARK likewise. The marks 'lsn:n',
// with n decimal, 0x and hexadecimal, or X/Y as PostgreSQL prints it, are positions in the log.
struct StopClause {
  enum class Kind { kTime, kLsn, kMark };
  Kind kind = Kind::kTime;
  std::int64_t unix_us = 0;  // of kTime; AFTER, 0 = none
  std::uint64_t lsn = 0;
  std::string mark;
  bool before = false;  // STOPBEFOREMARK
};

enum class RestoreEnd { kRecovery, kNoRecovery, kStandby };

// Where RESTORE finds its backup sets.
enum class RestoreFrom {
  kDevices,
  kNewest,   // FROM DISK = 'pattern' LATEST_ALL: the newest chain in those files
  kCatalog,  // FROM CATALOG: the newest chain that the history knows
  kNothing,  // RESTORE DATABASE name WITH RECOVERY
};

// LATEST_FULL, LATEST_DIFF, LATEST_ALL: how far a chain goes.
enum class ChainReach { kFull, kDifferential, kAll };

struct RestoreStatement {
  std::string database;
  bool log = false;  // RESTORE LOG
  RestoreFrom from = RestoreFrom::kDevices;
  ChainReach reach = ChainReach::kAll;  // of kNewest and kCatalog
  std::string source;                   // SOURCE = 'name': whose backups; empty: `database`'s
  RestoreEnd end = RestoreEnd::kRecovery;
  std::optional<StopClause> stop;
  bool plan_only = false;   // PLANONLY: says what would be done, and does nothing
  std::string data_folder;  // MOVE DATAFILES TO 'folder'
  std::string log_folder;   // MOVE LOGFILES TO 'folder'
  std::vector<DeviceClause> devices;
  TransferOptions transfer;
  bool replace = false;
  bool snapshot = false;  // SNAPSHOT; one virtual device
  bool continue_after_error = false;
  bool restart = false;                                    // RESTART
  std::uint16_t file_number = 1;                           // FILE = n
  std::vector<std::pair<std::string, std::string>> moves;  // MOVE 'logical' TO 'path'
  std::string media_name;                                  // MEDIANAME; empty: any
  std::string media_password;                              // MEDIAPASSWORD, of SQL Server's media
  std::optional<PassphraseClause> passphrase;
};

// kMediaMap is ours: what every byte of each medium belongs to.
enum class RestoreQuery { kLabelOnly, kHeaderOnly, kFileListOnly, kVerifyOnly, kMediaMap };

// What 3013 calls the statement: "BACKUP LOG", "RESTORE FILELIST", "VERIFY DATABASE", ...
std::string_view CommandName(const BackupStatement& backup);
std::string_view CommandName(const RestoreStatement& restore);
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

// ALTER DATABASE name SET RECOVERY FULL | BULK_LOGGED | SIMPLE, SET BACKUP_PREFERENCE = PRIMARY |
// SECONDARY_ONLY | SECONDARY | NONE
struct AlterDatabaseStatement {
  enum class RecoveryModel { kSimple, kBulkLogged, kFull };
  enum class BackupPreference { kPrimary, kSecondaryOnly, kSecondary, kNone };
  std::string database;
  std::optional<RecoveryModel> recovery_model;
  std::optional<BackupPreference> backup_preference;
};

// DROP DATABASE [IF EXISTS] name: of one that is being restored.
struct DropDatabaseStatement {
  std::string database;
  bool if_exists = false;
};

// RESTORE HELP, BACKUP HELP: the statements there are.
struct HelpStatement {
  bool restore = true;
};

// EXEC sp_expire_backups @keep_full = n | @keep_days = n [, @dry_run = 1] [, @database = 'sales' [,
// @database2 = ...]]: removes backups that nothing kept needs.
struct ExpireStatement {
  std::optional<int> keep_full;  // this many full backups of each database
  std::optional<int> keep_days;  // every point in time of so many days
  bool dry_run = false;
  std::vector<std::string> databases;  // 0..16; none: all that the history knows
};

// EXEC sp_discover_databases [@folder = 'path' [, @folder2 = ...]]
struct DiscoverStatement {
  std::vector<std::string> folders;  // 0..16, in which to look for database files
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

enum class CredentialAction { kCreate, kAlter, kDrop };

// CREATE CREDENTIAL [s3://bucket/folder] WITH IDENTITY = 'S3 Access Key', SECRET = 'id:secret',
// ALTER CREDENTIAL likewise, DROP CREDENTIAL name.
struct CredentialStatement {
  CredentialAction action = CredentialAction::kCreate;
  std::string name;
  std::string identity;  // empty for DROP
  std::string secret;    // likewise
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

// EXEC sp_device_bench @target = 'folder' [, @class = 'DISK'] [, @size_mb = n] [, @transfer_size =
// bytes] [, @read = 0 | 1]: how fast is it without a database?
struct DeviceBenchStatement {
  std::string
      target;  // a folder, or a prefix of URLs; the medium beneath it gets a name of its own
  DeviceClass device_class = DeviceClass::kDisk;  // kDisk or kUrl
  std::uint64_t size_mb = 1024;                   // 1..1048576
  std::uint32_t transfer_size = 1 << 20;          // bytes, multiple of 65536, up to 4 MiB
  bool read = true;
};

using StatementBody =
    std::variant<BackupStatement, RestoreStatement, RestoreQueryStatement, AttachStatement,
                 DetachStatement, KillStatement, SelectStatement, TraceStatement, LoginStatement,
                 PrintStatement, ConfigureStatement, ReconfigureStatement, CertificateStatement,
                 SpaceUsedStatement, CreateFolderStatement, LoadHistoryStatement,
                 CredentialStatement, DeviceBenchStatement, AlterDatabaseStatement,
                 DropDatabaseStatement, HelpStatement, ExpireStatement, DiscoverStatement>;

struct Statement {
  StatementBody body;
  int line = 1;      // in the batch, from 1
  std::string text;  // as written, for history and the job journal; passwords are left out
};

}  // namespace capstan::tsql
