#include "server/messages/messages.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace capstan {
namespace {

// Sorted by number. Keep one line of text a message, as SQL Server's own catalogue does.
// clang-format off
constexpr std::array kMessages = {
    MessageInfo{102, 15, 1, Code::kInvalidArgument, "Incorrect syntax near '{}'."},
    MessageInfo{103, 15, 4, Code::kInvalidArgument, "The {} that starts with '{}' is too long. Maximum length is {}."},
    MessageInfo{105, 15, 1, Code::kInvalidArgument, "Unclosed quotation mark after the character string '{}'."},
    MessageInfo{113, 15, 1, Code::kInvalidArgument, "Missing end comment mark '*/'."},
    MessageInfo{119, 15, 1, Code::kInvalidArgument, "Must pass parameter number {} and subsequent parameters as '@name = value'. After the form '@name = value' has been used, all subsequent parameters must be passed in the form '@name = value'."},
    MessageInfo{155, 15, 1, Code::kInvalidArgument, "'{}' is not a recognized {} option."},
    MessageInfo{156, 15, 1, Code::kInvalidArgument, "Incorrect syntax near the keyword '{}'."},
    MessageInfo{174, 15, 1, Code::kInvalidArgument, "The {} function requires {} argument(s)."},
    MessageInfo{189, 15, 1, Code::kInvalidArgument, "The {} function requires {} to {} arguments."},
    MessageInfo{191, 15, 1, Code::kInvalidArgument, "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into smaller queries."},
    MessageInfo{195, 15, 10, Code::kInvalidArgument, "'{}' is not a recognized {}."},
    MessageInfo{201, 16, 4, Code::kInvalidArgument, "Procedure or function '{}' expects parameter '{}', which was not supplied."},
    MessageInfo{207, 16, 1, Code::kInvalidArgument, "Invalid column name '{}'."},
    MessageInfo{208, 16, 1, Code::kNotFound, "Invalid object name '{}'."},
    MessageInfo{209, 16, 1, Code::kInvalidArgument, "Ambiguous column name '{}'."},
    MessageInfo{243, 16, 1, Code::kInvalidArgument, "Type {} is not a defined system type."},
    MessageInfo{281, 16, 1, Code::kInvalidArgument, "{} is not a valid style number when converting from {} to a character string."},
    MessageInfo{701, 17, 1, Code::kResourceExhausted, "There is insufficient system memory to run this query."},
    MessageInfo{911, 16, 1, Code::kNotFound, "Database '{}' does not exist. Make sure that the name is entered correctly."},
    MessageInfo{927, 14, 2, Code::kFailedPrecondition, "Database '{}' cannot be opened. It is in the middle of a restore."},
    MessageInfo{1038, 15, 4, Code::kInvalidArgument, "An object or column name is missing or empty. For SELECT INTO statements, verify each column has a name. For other statements, look for empty alias names. Aliases defined as \"\" or [] are not allowed. Change the alias to a valid name."},
    MessageInfo{1801, 16, 3, Code::kAlreadyExists, "Database '{}' already exists. Choose a different database name."},
    MessageInfo{2812, 16, 62, Code::kNotFound, "Could not find stored procedure '{}'."},
    MessageInfo{3011, 16, 1, Code::kInvalidArgument, "All backup devices must be of the same general class (for example, DISK and TAPE)."},
    MessageInfo{3013, 16, 1, Code::kAborted, "{} is terminating abnormally."},
    MessageInfo{3014, 0, 1, Code::kUnknown, "{} successfully processed {} pages in {}.{:03} seconds ({}.{:03} MB/sec)."},
    MessageInfo{3018, 10, 1, Code::kUnknown, "The restart-checkpoint file '{}' was not found. The RESTORE command will continue from the beginning as if RESTART had not been specified."},
    MessageInfo{3019, 16, 1, Code::kFailedPrecondition, "The restart-checkpoint file '{}' is from a previous interrupted RESTORE operation and is inconsistent with the current RESTORE command. The restart command must use the same syntax as the interrupted command, with the addition of the RESTART clause. Alternatively, reissue the current statement without the RESTART clause."},
    MessageInfo{3023, 16, 2, Code::kUnavailable, "Backup, file manipulation operations (such as ALTER DATABASE ADD FILE) and encryption changes on a database must be serialized. Reissue the statement after the current backup or file manipulation operation is completed."},
    MessageInfo{3028, 10, 1, Code::kUnknown, "The restart-checkpoint file '{}' was corrupted and is being ignored. The RESTORE command will continue from the beginning as if RESTART had not been specified."},
    MessageInfo{3031, 16, 1, Code::kInvalidArgument, "Option '{}' conflicts with option(s) '{}'. Remove the conflicting option and reissue the statement."},
    MessageInfo{3032, 16, 1, Code::kInvalidArgument, "One or more of the options ({}) are not supported for this statement. Review the documentation for supported options."},
    MessageInfo{3035, 16, 1, Code::kFailedPrecondition, "Cannot perform a differential backup for database \"{}\", because a current database backup does not exist. Perform a full database backup by reissuing BACKUP DATABASE, omitting the WITH DIFFERENTIAL option."},
    MessageInfo{3036, 16, 2, Code::kFailedPrecondition, "The database \"{}\" is in warm-standby state (set by executing RESTORE WITH STANDBY) and cannot be backed up until the entire restore sequence is completed."},
    MessageInfo{3041, 16, 1, Code::kAborted, "BACKUP failed to complete the command {}. Check the backup application log for detailed messages."},
    MessageInfo{3042, 10, 1, Code::kUnknown, "BACKUP WITH CONTINUE_AFTER_ERROR successfully generated a backup of the damaged database. Refer to the Capstan error log for information about the errors that were encountered."},
    MessageInfo{3043, 16, 1, Code::kDataLoss, "BACKUP '{}' detected an error on page ({}:{}) in file '{}'."},
    MessageInfo{3044, 16, 1, Code::kInvalidArgument, "Invalid zero-length device name. Reissue the BACKUP statement with a valid device name."},
    MessageInfo{3095, 16, 1, Code::kFailedPrecondition, "The backup cannot be performed because '{}' was requested after the media was formatted with an incompatible structure. To append to this media set, either omit '{}' or create a new media set by using WITH FORMAT in your BACKUP statement. If you use WITH FORMAT on an existing media set, all its backup sets will be overwritten."},
    MessageInfo{3098, 16, 2, Code::kFailedPrecondition, "The backup cannot be performed because '{}' was requested after the media was formatted with an incompatible structure. To append to this media set, either omit '{}' or specify '{}'. Alternatively, you can create a new media set by using WITH FORMAT in your BACKUP statement. If you use WITH FORMAT on an existing media set, all its backup sets will be overwritten."},
    MessageInfo{3101, 16, 1, Code::kFailedPrecondition, "Exclusive access could not be obtained because the database is in use."},
    MessageInfo{3117, 16, 1, Code::kFailedPrecondition, "The log or differential backup cannot be restored because no files are ready to rollforward."},
    MessageInfo{3118, 16, 1, Code::kFailedPrecondition, "The database \"{}\" does not exist. RESTORE can only create a database when restoring either a full backup or a file backup of the primary file."},
    MessageInfo{3132, 16, 1, Code::kInvalidArgument, "The media set has {} media families but only {} are provided. All members must be provided."},
    MessageInfo{3133, 16, 1, Code::kInvalidArgument, "The volume on device \"{}\" is sequence number {} of media family {}, but sequence number {} of media family {} is expected. Check that the device specifications and loaded media are correct."},
    MessageInfo{3135, 16, 1, Code::kInvalidArgument, "The backup set in file '{}' was created by {} and cannot be used for this restore operation."},
    MessageInfo{3136, 16, 1, Code::kFailedPrecondition, "This differential backup cannot be restored because the database has not been restored to the correct earlier state."},
    MessageInfo{3143, 16, 1, Code::kInvalidArgument, "The data set on device '{}' is not a Capstan backup set."},
    MessageInfo{3153, 16, 1, Code::kFailedPrecondition, "The database is already fully recovered."},
    MessageInfo{3154, 16, 4, Code::kFailedPrecondition, "The backup set holds a backup of a database other than the existing '{}' database."},
    MessageInfo{3156, 16, 1, Code::kFailedPrecondition, "File '{}' cannot be restored to '{}'. Use WITH MOVE to identify a valid location for the file."},
    MessageInfo{3159, 16, 1, Code::kFailedPrecondition, "The tail of the log for the database \"{}\" has not been backed up. Use BACKUP LOG WITH NORECOVERY to backup the log if it contains work you do not want to lose. Use the WITH REPLACE or WITH STOPAT clause of the RESTORE statement to just overwrite the contents of the log."},
    MessageInfo{3169, 16, 1, Code::kFailedPrecondition, "The database was backed up on a server running version {}. That version is incompatible with this server, which is running version {}. Either restore the database on a server that supports the backup, or use a backup that is compatible with this server."},
    MessageInfo{3182, 16, 1, Code::kDataLoss, "The backup set cannot be restored because the database was damaged when the backup occurred. Salvage attempts may exploit WITH CONTINUE_AFTER_ERROR."},
    MessageInfo{3183, 16, 1, Code::kDataLoss, "RESTORE detected an error on page ({}:{}) in database \"{}\" as read from the backup set."},
    MessageInfo{3184, 10, 1, Code::kUnknown, "RESTORE WITH CONTINUE_AFTER_ERROR was successful but some damage was encountered. Inconsistencies in the database are possible."},
    MessageInfo{3186, 16, 1, Code::kDataLoss, "The backup set has been damaged. RESTORE will not attempt to apply this backup set."},
    MessageInfo{3187, 16, 1, Code::kInvalidArgument, "RESTORE WITH CHECKSUM cannot be specified because the backup set does not contain checksum information."},
    MessageInfo{3188, 10, 1, Code::kUnknown, "The backup set was written with damaged data by a BACKUP WITH CONTINUE_AFTER_ERROR."},
    MessageInfo{3189, 16, 1, Code::kDataLoss, "Damage to the backup set was detected."},
    MessageInfo{3196, 16, 1, Code::kInvalidArgument, "RESTORE master WITH SNAPSHOT is not supported. To restore master from a snapshot backup, stop the service and copy the data and log file."},
    MessageInfo{3197, 10, 1, Code::kUnknown, "I/O is frozen on database {}. No user action is required. However, if I/O is not resumed promptly, you could cancel the backup."},
    MessageInfo{3198, 10, 1, Code::kUnknown, "I/O was resumed on database {}. No user action is required."},
    MessageInfo{3199, 16, 1, Code::kInvalidArgument, "RESTORE requires MAXTRANSFERSIZE={} but {} was specified."},
    MessageInfo{3201, 16, 1, Code::kUnavailable, "Cannot open backup device '{}'. Operating system error {}."},
    MessageInfo{3202, 16, 1, Code::kUnavailable, "Write on \"{}\" failed: {}"},
    MessageInfo{3203, 16, 1, Code::kUnavailable, "Read on \"{}\" failed: {}"},
    MessageInfo{3204, 16, 1, Code::kCancelled, "The backup or restore was aborted."},
    MessageInfo{3205, 16, 1, Code::kInvalidArgument, "Too many backup devices specified for backup or restore; only {} are allowed."},
    MessageInfo{3206, 16, 1, Code::kNotFound, "Backup device '{}' does not exist. To view existing backup devices, use the sys.backup_devices catalog view. To create a new backup device use either sp_addumpdevice or SQL Server Management Studio."},
    MessageInfo{3207, 16, 1, Code::kInvalidArgument, "Backup or restore requires at least one backup device. Rerun your statement specifying a backup device."},
    MessageInfo{3208, 16, 1, Code::kDataLoss, "Unexpected end of file while reading beginning of backup set. Confirm that the media contains a valid Capstan backup set, and see the console error log for more details."},
    MessageInfo{3210, 16, 1, Code::kInvalidArgument, "The mirror member in drive \"{}\" is inconsistent with the mirror member in drive \"{}\"."},
    MessageInfo{3211, 0, 1, Code::kUnknown, "{} percent processed."},
    MessageInfo{3212, 16, 1, Code::kInvalidArgument, "The mirror device \"{}\" and the mirror device \"{}\" have different device specifications."},
    MessageInfo{3214, 16, 1, Code::kInvalidArgument, "Too many backup mirrors are specified. Only {} are allowed."},
    MessageInfo{3215, 16, 1, Code::kInvalidArgument, "Use WITH FORMAT to create a new mirrored backup set."},
    MessageInfo{3217, 16, 1, Code::kInvalidArgument, "Invalid value specified for {} parameter."},
    MessageInfo{3227, 16, 1, Code::kInvalidArgument, "The backup media on \"{}\" is part of media family {} which has already been processed on \"{}\". Ensure that backup devices are correctly specified. For tape devices, ensure that the correct volumes are loaded."},
    MessageInfo{3231, 16, 1, Code::kInvalidArgument, "The media loaded on \"{}\" is formatted to support {} media families, but {} media families are expected according to the backup device specification."},
    MessageInfo{3232, 16, 1, Code::kInvalidArgument, "The volume mounted on \"{}\" does not have the expected backup set identity. The volume may be obsolete due to a more recent overwrite of this media family. In that case, locate the correct volume with sequence number {} of media family {}."},
    MessageInfo{3234, 16, 2, Code::kInvalidArgument, "Logical file '{}' is not part of database '{}'. Use RESTORE FILELISTONLY to list the logical file names."},
    MessageInfo{3239, 16, 1, Code::kUnimplemented, "The backup set on device '{}' uses a feature of the Microsoft Tape Format not supported by Capstan."},
    MessageInfo{3240, 16, 1, Code::kInvalidArgument, "Backup to mirrored media sets requires all mirrors to append. Provide all members of the set, or reformat a new media set."},
    MessageInfo{3241, 16, 1, Code::kDataLoss, "The media family on device '{}' is incorrectly formed. Capstan cannot process this media family."},
    MessageInfo{3242, 16, 1, Code::kInvalidArgument, "The file on device '{}' is not a valid Microsoft Tape Format backup set."},
    MessageInfo{3243, 16, 1, Code::kUnimplemented, "The media family on device '{}' was created using Microsoft Tape Format version {}.{}. Capstan supports version {}.{}."},
    MessageInfo{3244, 16, 1, Code::kInvalidArgument, "Descriptor block size exceeds {} bytes. Use a shorter name and/or description string and retry the operation."},
    MessageInfo{3246, 16, 1, Code::kFailedPrecondition, "The media family on device '{}' is marked as nonappendable. Reissue the statement using the INIT option to overwrite the media."},
    MessageInfo{3247, 16, 1, Code::kInvalidArgument, "The volume on device '{}' has the wrong media sequence number ({}). Remove it and insert volume {}."},
    MessageInfo{3249, 16, 1, Code::kInvalidArgument, "The volume on device '{}' is a continuation volume for the backup set. Remove it and insert the volume holding the start of the backup set."},
    MessageInfo{3250, 16, 1, Code::kInvalidArgument, "The value '{}' is not within range for the {} parameter."},
    MessageInfo{3251, 10, 1, Code::kUnknown, "The media family on device '{}' is complete. The device is now being reused for one of the remaining families."},
    MessageInfo{3253, 16, 1, Code::kInvalidArgument, "The block size parameter must supply a value that is a power of 2."},
    MessageInfo{3254, 16, 1, Code::kInvalidArgument, "The volume on device '{}' is empty."},
    MessageInfo{3255, 16, 1, Code::kUnimplemented, "The data set on device '{}' is a Capstan backup set not compatible with this version of Capstan."},
    MessageInfo{3256, 16, 1, Code::kDataLoss, "The backup set on device '{}' was terminated while it was being created and is incomplete. RESTORE sequence is terminated abnormally."},
    MessageInfo{3257, 16, 1, Code::kResourceExhausted, "There is insufficient free space on disk volume '{}' to create the database. The database requires {} additional free bytes, while only {} bytes are available."},
    MessageInfo{3258, 16, 1, Code::kInvalidArgument, "The volume on the device \"{}\" is not part of the media set that is currently being processed. Ensure that the backup devices are loaded with the correct media."},
    MessageInfo{3261, 16, 1, Code::kUnimplemented, "Capstan cannot use the virtual device configuration."},
    MessageInfo{3262, 0, 1, Code::kUnknown, "The backup set on file {} is valid."},
    MessageInfo{3263, 16, 1, Code::kInvalidArgument, "Cannot use the volume on device '{}' as a continuation volume. It is sequence number {} of family {} for the current media set. Insert a new volume, or sequence number {} of family {} for the current set."},
    MessageInfo{3266, 16, 1, Code::kDataLoss, "The backup data at the end of \"{}\" is incorrectly formatted. Backup sets on the media might be damaged and unusable. To determine the backup sets on the media, use RESTORE HEADERONLY. To determine the usability of the backup sets, run RESTORE VERIFYONLY. If all of the backup sets are incomplete, reformat the media using BACKUP WITH FORMAT, which destroys all the backup sets."},
    MessageInfo{3270, 16, 1, Code::kInternal, "An internal consistency error has occurred. This error is similar to an assert. Contact technical support for assistance."},
    MessageInfo{3271, 16, 1, Code::kUnavailable, "A nonrecoverable I/O error occurred on file \"{}:\" {}."},
    MessageInfo{3272, 16, 1, Code::kInvalidArgument, "The '{}' device has a hardware sector size of {}, but the block size parameter specifies an incompatible override value of {}. Reissue the statement using a compatible block size."},
    MessageInfo{3276, 16, 1, Code::kInvalidArgument, "WITH SNAPSHOT can be used only if the backup set was created WITH SNAPSHOT."},
    MessageInfo{3277, 16, 1, Code::kInvalidArgument, "WITH SNAPSHOT must be used with only one virtual device."},
    MessageInfo{3279, 16, 1, Code::kUnauthenticated, "Access is denied due to a password failure"},
    MessageInfo{3284, 16, 1, Code::kInvalidArgument, "Filemark on device '{}' is not aligned. Re-issue the restore statement with the same blocksize used to create the backupset: '{}' looks like a possible value."},
    MessageInfo{3287, 16, 1, Code::kNotFound, "The file ID {} on device '{}' is incorrectly formed and can not be read."},
    MessageInfo{3906, 16, 1, Code::kFailedPrecondition, "Failed to update database \"{}\" because the database is read-only."},
    MessageInfo{4030, 16, 1, Code::kFailedPrecondition, "The medium on device '{}' expires on {} and cannot be overwritten."},
    MessageInfo{4035, 0, 1, Code::kUnknown, "Processed {} pages for database '{}', file '{}' on file {}."},
    MessageInfo{4037, 16, 1, Code::kFailedPrecondition, "The user-specified MEDIANAME \"{}\" does not match the MEDIANAME \"{}\" of the device \"{}\"."},
    MessageInfo{4038, 16, 1, Code::kNotFound, "Cannot find file ID {} on device '{}'."},
    MessageInfo{4208, 16, 1, Code::kFailedPrecondition, "The statement {} is not allowed while the recovery model is SIMPLE. Use BACKUP DATABASE or change the recovery model using ALTER DATABASE."},
    MessageInfo{4214, 16, 1, Code::kFailedPrecondition, "BACKUP LOG cannot be performed because there is no current database backup."},
    MessageInfo{4305, 16, 1, Code::kFailedPrecondition, "The log in this backup set begins at LSN {}, which is too recent to apply to the database. An earlier log backup that includes LSN {} can be restored."},
    MessageInfo{4318, 16, 1, Code::kFailedPrecondition, "File '{}' has been rolled forward to LSN {}. This log terminates at LSN {}, which is too early to apply the WITH RECOVERY option. Reissue the RESTORE LOG statement WITH NORECOVERY."},
    MessageInfo{4319, 16, 1, Code::kFailedPrecondition, "A previous restore operation was interrupted and did not complete processing on file '{}'. Either restore the backup set that was interrupted or restart the restore sequence."},
    MessageInfo{4326, 16, 1, Code::kFailedPrecondition, "The log in this backup set terminates at LSN {}, which is too early to apply to the database. A more recent log backup that includes LSN {} can be restored."},
    MessageInfo{4329, 10, 1, Code::kUnknown, "This log file contains records logged before the designated mark. The database is being left in the Restoring state so you can apply another log file."},
    MessageInfo{4330, 16, 1, Code::kFailedPrecondition, "This backup set cannot be applied because it is on a recovery path that is inconsistent with the database. The recovery path is the sequence of data and log backups that have brought the database to a particular recovery point. Find a compatible backup to restore, or restore the rest of the database to match a recovery point within this backup set, which will restore the database to a different point in time."},
    MessageInfo{4335, 16, 1, Code::kFailedPrecondition, "The specified STOPAT time is too early. All or part of the database is already rolled forward beyond that point."},
    MessageInfo{4338, 16, 1, Code::kFailedPrecondition, "The STOPAT clause specifies a point too early to allow this backup set to be restored. Choose a different stop point or use RESTORE DATABASE WITH RECOVERY to recover at the current point."},
    MessageInfo{6104, 16, 1, Code::kInvalidArgument, "Cannot use KILL to kill your own process."},
    MessageInfo{6106, 16, 2, Code::kNotFound, "Process ID {} is not an active process ID."},
    MessageInfo{8143, 16, 1, Code::kInvalidArgument, "Parameter '{}' was supplied multiple times."},
    MessageInfo{8144, 16, 2, Code::kInvalidArgument, "Procedure or function {} has too many arguments specified."},
    MessageInfo{8145, 16, 1, Code::kInvalidArgument, "{} is not a parameter for procedure {}."},
    MessageInfo{15006, 16, 1, Code::kInvalidArgument, "'{}' is not a valid name because it contains invalid characters."},
    MessageInfo{15025, 16, 1, Code::kAlreadyExists, "The server principal '{}' already exists."},
    MessageInfo{15116, 16, 1, Code::kInvalidArgument, "Password validation failed. The password does not meet the operating system policy requirements because it is too short."},
    MessageInfo{15117, 16, 1, Code::kInvalidArgument, "Password validation failed. The password does not meet the operating system policy requirements because it is too long."},
    MessageInfo{15123, 16, 1, Code::kNotFound, "The configuration option '{}' does not exist, or it may be an advanced option."},
    MessageInfo{15124, 16, 1, Code::kInvalidArgument, "The configuration option '{}' is not unique."},
    MessageInfo{15129, 16, 1, Code::kInvalidArgument, "'{}' is not a valid value for configuration option '{}'."},
    MessageInfo{15151, 16, 1, Code::kNotFound, "Cannot {} the {} '{}', because it does not exist or you do not have permission."},
    MessageInfo{15208, 16, 1, Code::kInvalidArgument, "The certificate, asymmetric key, or private key file is not valid or does not exist; or you do not have permissions for it."},
    MessageInfo{15232, 16, 1, Code::kAlreadyExists, "A certificate with name '{}' already exists or this certificate already has been added to the database."},
    MessageInfo{15240, 16, 1, Code::kInvalidArgument, "Cannot write into file '{}'. Verify that you have write permissions, that the file path is valid, and that the file does not already exist."},
    MessageInfo{15457, 0, 1, Code::kUnknown, "Configuration option '{}' changed from {} to {}. Run the RECONFIGURE statement to install."},
    MessageInfo{15530, 16, 1, Code::kAlreadyExists, "The {} with name \"{}\" already exists."},
    MessageInfo{18210, 16, 1, Code::kUnavailable, "{}: {} failure on backup device '{}'. Operating system error {}."},
    MessageInfo{18456, 14, 1, Code::kUnauthenticated, "Login failed for user '{}'."},
    MessageInfo{22048, 16, 1, Code::kUnavailable, "{}"},
    MessageInfo{33111, 16, 3, Code::kFailedPrecondition, "Cannot find server {} with thumbprint '{}'."},
    MessageInfo{65001, 16, 1, Code::kUnavailable, "No agent for {} devices is attached."},
    MessageInfo{65002, 16, 1, Code::kInvalidArgument, "'{}' cannot be registered as a database: {}."},
    MessageInfo{65004, 16, 1, Code::kDataLoss, "Damage on device '{}' at byte {}: {}."},
    MessageInfo{65005, 16, 1, Code::kUnavailable, "The database '{}' cannot be read: {}."},
    MessageInfo{65006, 16, 1, Code::kUnavailable, "The database '{}' cannot be written: {}."},
    MessageInfo{65007, 16, 1, Code::kInvalidArgument, "The backup set on device '{}' was created WITH SNAPSHOT and can be restored WITH SNAPSHOT only."},
    MessageInfo{65008, 0, 1, Code::kUnknown, "The backup set on file {} was created WITH SNAPSHOT. Its description was verified; its files are not on the device."},
    MessageInfo{65009, 16, 1, Code::kFailedPrecondition, "The media on device '{}' were written by {} and can only be read."},
    MessageInfo{65010, 16, 1, Code::kUnauthenticated, "The key of the backup set on device '{}' cannot be unlocked: {}."},
    MessageInfo{65011, 10, 1, Code::kUnknown, "The backup is expected to take {} MB on device '{}', where {} MB are free."},
    MessageInfo{65012, 10, 1, Code::kUnknown, "{} of {} frames ({} percent, {} of {} bytes) of the backup set on file {} were verified."},
    MessageInfo{65013, 16, 1, Code::kUnimplemented, "The backup set on device '{}' holds a database of SQL Server. Capstan lists and verifies it; only SQL Server can restore it."},
    MessageInfo{65014, 10, 1, Code::kUnknown, "Lost on device '{}': {} bytes of file '{}' from byte {}, pages {} to {}."},
    MessageInfo{65020, 16, 1, Code::kInvalidArgument, "SAMPLE needs random access, and device '{}' can only be read forward."},
    MessageInfo{65021, 10, 1, Code::kUnknown, "The catalog knows the backup set on file {} as different from what is on the devices: {}."},
    MessageInfo{65022, 16, 1, Code::kInvalidArgument, "SAMPLE cannot be used with the backup set on device '{}', which SQL Server wrote: its checksums each cover a whole stream of data."},
    MessageInfo{65023, 16, 1, Code::kDataLoss, "The backup set on file {} of '{}' is whole, and not the one that was backed up: the digest of its contents is {}, the catalog remembers {}."},
    MessageInfo{65024, 16, 1, Code::kUnimplemented, "The pages of the database '{}' cannot be checked: {}."},
    MessageInfo{65025, 0, 1, Code::kUnknown, "RESTART goes on with an interrupted restore: {} of {} bytes are there and were checked."},
    MessageInfo{65030, 16, 1, Code::kInvalidArgument, "'{}' cannot be a credential: {}."},
    MessageInfo{65050, 16, 1, Code::kFailedPrecondition, "The backups of database '{}' do not lead to {}: {}."},
    MessageInfo{65051, 10, 1, Code::kUnknown, "Step {} of {}: {}."},
    MessageInfo{65052, 10, 1, Code::kUnknown, "Going on without {}: {}"},
    MessageInfo{65053, 16, 1, Code::kFailedPrecondition, "The database '{}' is in use, and DROP DATABASE removes only one that is being restored."},
    MessageInfo{65054, 16, 1, Code::kInvalidArgument, "The database '{}' cannot be set to {}: {}."},
    MessageInfo{65055, 16, 1, Code::kUnavailable, "The medium '{}' cannot be removed: {}."},
    MessageInfo{65056, 16, 1, Code::kFailedPrecondition, "The log of the database '{}' was followed up to LSN {} at {}, and commits may be missing behind it: {}."},
    MessageInfo{65057, 10, 1, Code::kUnknown, "The log of database '{}' from LSN {} to LSN {} is in no backup. A {} backup bridges the gap, and this log backup goes on from there."},
    MessageInfo{65058, 10, 1, Code::kUnknown, "Going on with the interrupted backup of database '{}': {} of {} bytes are on its media as the database has them."},
    MessageInfo{65059, 10, 1, Code::kUnknown, "The backup of database '{}' begins anew: {}."},
};
// clang-format on

constexpr bool Sorted() {
  for (std::size_t i = 1; i < kMessages.size(); ++i) {
    if (kMessages[i - 1].number >= kMessages[i].number) {
      return false;
    }
  }
  return true;
}
static_assert(Sorted());

}  // namespace

const MessageInfo* FindMessage(int number) {
  const auto* found =
      std::lower_bound(kMessages.begin(), kMessages.end(), number,
                       [](const MessageInfo& info, int wanted) { return info.number < wanted; });
  return found != kMessages.end() && found->number == number ? found : nullptr;
}

std::string internal::FormatMessage(int number, fmt::format_args args) {
  const MessageInfo* info = FindMessage(number);
  CAPSTAN_CHECK(info != nullptr);
  return fmt::vformat(info->format, args);
}

Status internal::MakeError(int number, fmt::format_args args) {
  const MessageInfo* info = FindMessage(number);
  CAPSTAN_CHECK(info != nullptr && info->severity > 10);
  return Status(info->code, fmt::vformat(info->format, args)).WithReason(number);
}

std::string OsErrorText(int os_error) {
  if (os_error == EACCES || os_error == EPERM) {
    return "5(Access is denied.)";  // what SQL Server on Linux prints, and what people search for
  }
  return fmt::format("{}({})", os_error, std::generic_category().message(os_error));
}

}  // namespace capstan
