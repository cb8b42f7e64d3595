#include "server/coordinator/help_text.h"

namespace capstan::coordinator {
namespace {

// clang-format off
constexpr std::string_view kRestore[] = {
    "RESTORE DATABASE name FROM DISK | URL | TAPE | VIRTUAL_DEVICE = 'device' [, ...] [WITH options]",
    "    a full or differential backup; each further family of the media set is a further device",
    "RESTORE LOG name FROM DISK = 'device' [, ...] [WITH options]",
    "    a log backup; DISK = '/backup/*.trn' takes the whole row that comes next, in one statement",
    "RESTORE DATABASE name FROM CATALOG [SOURCE = 'name'] [LATEST_FULL | LATEST_DIFF | LATEST_ALL] [WITH options]",
    "    the newest full and differential backup and the log backups that lead to the point, found in the history",
    "RESTORE DATABASE name FROM DISK = '/backup/*' LATEST_ALL [WITH options]",
    "    the same from the files that the pattern names",
    "RESTORE DATABASE name WITH RECOVERY | STANDBY = 'file'",
    "    ends a restore that was left WITH NORECOVERY",
    "Options: RECOVERY | NORECOVERY | STANDBY = 'file',",
    "    STOPAT = 'time' | STOPATMARK = 'lsn:n' | 'name' [AFTER 'time'] | STOPBEFOREMARK likewise,",
    "    MOVE 'logical' TO 'path', MOVE DATAFILES TO 'folder', MOVE LOGFILES TO 'folder', REPLACE, PLANONLY,",
    "    FILE = n, CHECKSUM, CONTINUE_AFTER_ERROR, PASSPHRASE FROM FILE 'path', STATS = n, MAXRATE = n, BUFFERCOUNT = n",
    "RESTORE LABELONLY | HEADERONLY | FILELISTONLY | VERIFYONLY | MEDIAMAP FROM DISK = 'device' [WITH FILE = n]",
    "    what a medium holds, and whether it is whole",
    "Times: '2030-12-31 18:00:30.5' in the server's time zone, or with one: '2030-12-31T18:00:30+02:00', '...Z'",
};
constexpr std::string_view kBackup[] = {
    "BACKUP DATABASE name TO DISK | URL | TAPE | VIRTUAL_DEVICE = 'device' [, ...] [MIRROR TO ...] [WITH options]",
    "    a full backup, or WITH DIFFERENTIAL what has changed since the last one that was not COPY_ONLY",
    "BACKUP LOG name TO DISK = 'device' [, ...] [WITH options]",
    "    the log since the last log backup; NORECOVERY closes the database, NO_TRUNCATE takes what a damaged one left",
    "BACKUP DATABASES [a, b*] TO DISK = '/backup/<database>_<type>_<datetime>.bak', BACKUP LOGS [*] TO ...,",
    "BACKUP DATABASES EXCLUDE [a, b*] TO ...",
    "    several databases in one statement, by names and patterns",
    "Options: DIFFERENTIAL, COPY_ONLY, NORECOVERY | NO_TRUNCATE, INIT, FORMAT, SKIP, CHECKSUM, SNAPSHOT,",
    "    COMPRESSION (ALGORITHM = ZSTD, LEVEL = HIGH), ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = name),",
    "    NAME, DESCRIPTION, MEDIANAME, EXPIREDATE = 'date', RETAINDAYS = n, STATS = n, MAXRATE = n, BUFFERCOUNT = n",
    "ALTER DATABASE name SET RECOVERY FULL | BULK_LOGGED | SIMPLE",
    "ALTER DATABASE name SET BACKUP_PREFERENCE = PRIMARY | SECONDARY_ONLY | SECONDARY | NONE",
    "EXEC sp_expire_backups @keep_full = n | @keep_days = n [, @database = 'name'] [, @dry_run = 1]",
};
// clang-format on

}  // namespace

std::span<const std::string_view> RestoreHelp() {
  return kRestore;
}

std::span<const std::string_view> BackupHelp() {
  return kBackup;
}

}  // namespace capstan::coordinator
