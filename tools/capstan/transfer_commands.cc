// backup, restore and verify on the command line.
#include <cstdint>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "tools/capstan/command_set.h"
#include "tools/capstan/name_template.h"
#include "tools/capstan/statements.h"
#include "tools/capstan/units.h"

namespace capstan::cli {
namespace {

// What backup, restore and verify have in common, as typed.
struct TypedTransfer {
  std::string database;
  std::vector<std::string> targets;
  std::string max_transfer_size;
  std::string block_size;
  std::optional<std::uint64_t> buffer_count;
  std::optional<std::uint64_t> max_rate_mb;
  bool checksum = false;
  bool no_checksum = false;
  int stats_percent = 10;
};

constexpr const char* kTargetHelp =
    "A path, disk:PATH, s3://BUCKET/KEY, tape:NAME or vdi:NAME; give it once per device";

CLI::Option* AddTargets(CLI::App* command, std::vector<std::string>& targets, const char* option) {
  return command->add_option(option, targets, kTargetHelp)
      ->type_name("TARGET")
      ->allow_extra_args(false);
}

void AddTransferOptions(CLI::App* command, TypedTransfer& typed) {
  CLI::Option* const checksum = command->add_flag("--checksum", typed.checksum,
                                                  "Also check the database's own page checksums");
  command->add_flag("--no-checksum", typed.no_checksum, "Do not check page checksums")
      ->excludes(checksum);
  command
      ->add_option("--stats", typed.stats_percent,
                   "Report every N percent in plain output; 0 = never")
      ->type_name("N")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  command
      ->add_option("--buffer-count", typed.buffer_count,
                   "Transfer buffers of the whole job; by default the server computes it")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000));
  command
      ->add_option("--max-transfer-size", typed.max_transfer_size,
                   "Bytes per transfer, for example 1M: a multiple of 64K up to 4M")
      ->type_name("BYTES");
  command
      ->add_option("--max-rate", typed.max_rate_mb,
                   "MiB per second that all devices together may move at most")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));
  command
      ->add_option("--block-size", typed.block_size,
                   "Physical block size of the media: a power of two from 512 to 64K")
      ->type_name("BYTES");
}

Result<TransferOptions> PlanTransfer(const TypedTransfer& typed) {
  TransferOptions transfer;
  transfer.buffer_count = typed.buffer_count;
  transfer.max_rate_mb = typed.max_rate_mb;
  transfer.stats_percent = typed.stats_percent;
  if (typed.checksum || typed.no_checksum) {
    transfer.checksum = typed.checksum;
  }
  if (!typed.max_transfer_size.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(transfer.max_transfer_size, ParseSize(typed.max_transfer_size));
  }
  if (!typed.block_size.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(transfer.block_size, ParseSize(typed.block_size));
  }
  return transfer;
}

Result<std::vector<Target>> PlanTargets(const std::vector<std::string>& typed,
                                        const std::string& working_directory) {
  std::vector<Target> targets;
  for (const std::string& text : typed) {
    CAPSTAN_ASSIGN_OR_RETURN(Target target, ParseTarget(text, working_directory));
    targets.push_back(std::move(target));
  }
  return targets;
}

// A passphrase's place on the server; two options, of which one may be given.
struct TypedPassphrase {
  std::string file;
  std::string environment;
};

CLI::Option* AddPassphrase(CLI::App* command, TypedPassphrase& typed, const char* what) {
  CLI::Option* const file =
      command
          ->add_option("--passphrase-file", typed.file,
                       fmt::format("{} the passphrase in this file of the server", what))
          ->type_name("PATH");
  command
      ->add_option(
          "--passphrase-env", typed.environment,
          fmt::format("{} the passphrase in this variable of the server's environment", what))
      ->type_name("NAME")
      ->excludes(file);
  return file;
}

PassphraseSource PlanPassphrase(const TypedPassphrase& typed, const std::string& directory) {
  return {.file = typed.file.empty() ? "" : AbsolutePath(typed.file, directory),
          .environment = typed.environment};
}

struct TypedBackup {
  TypedTransfer transfer;
  BackupOptions backup;
  std::vector<std::string> mirrors;
  std::optional<std::string> compression;
  bool no_compression = false;
  TypedPassphrase passphrase;
  bool no_verify = false;
  std::vector<std::string> databases;
  bool norecovery = false;
  bool no_truncate = false;
};

void AddMediaOptions(CLI::App* command, TypedBackup& typed) {
  command->add_flag("--format", typed.backup.format,
                    "Make a new media set; all that is on the media goes");
  command->add_flag("--init", typed.backup.init,
                    "Replace the backups on the media, keep the media set");
  command->add_flag("--skip", typed.backup.skip,
                    "Ask neither whether backups on the media have expired nor for their name");
  AddTargets(command, typed.mirrors, "--mirror")
      ->description("Write the same to this target; as many as --to, or a multiple of that");
  command->add_option("--media-name", typed.backup.media_name, "Name of the media set");
  command->add_option("--media-description", typed.backup.media_description,
                      "Text about the media set");
}

void AddSetOptions(CLI::App* command, TypedBackup& typed) {
  command->add_flag("--copy-only", typed.backup.copy_only,
                    "Leave no trace in the sequence of differential and log backups");
  command->add_option("--name", typed.backup.name, "Name of the backup set");
  command->add_option("--description", typed.backup.description, "Text about the backup set");
  command
      ->add_option("--expire-date", typed.backup.expire_date,
                   "Until then the backup cannot be overwritten, for example 2030-12-31")
      ->type_name("DATE");
  command
      ->add_option("--retain-days", typed.backup.retain_days,
                   "The same as a number of days from now")
      ->type_name("N")
      ->check(CLI::Range(0, 99'999));
  command->add_flag("--continue-after-error", typed.backup.continue_after_error,
                    "Back up what can be read of a damaged database");
  command->add_flag("--no-verify", typed.no_verify,
                    "Do not read the backup back; by default it is verified when it is made");
}

void AddTransformOptions(CLI::App* command, TypedBackup& typed) {
  CLI::Option* const compression =
      command
          ->add_option("--compression", typed.compression,
                       "Compress: zstd or lz4, with :low, :medium or :high behind it; "
                       "--compression= leaves\nthe algorithm to the server")
          ->type_name("ALGORITHM[:LEVEL]")
          ->expected(0, 1);
  command->add_flag("--no-compression", typed.no_compression, "Do not compress")
      ->excludes(compression);
  CLI::Option* const passphrase =
      AddPassphrase(command, typed.passphrase, "Encrypt the backup under");
  command
      ->add_option("--encrypt-certificate", typed.backup.certificate,
                   "Encrypt the backup under this certificate of the server")
      ->type_name("NAME")
      ->excludes(passphrase)
      ->excludes(command->get_option("--passphrase-env"));
}

Result<BackupOptions> PlanBackup(const TypedBackup& typed, const std::string& directory) {
  BackupOptions options = typed.backup;
  CAPSTAN_ASSIGN_OR_RETURN(options.transfer, PlanTransfer(typed.transfer));
  for (const std::string& text : typed.transfer.targets) {
    CAPSTAN_RETURN_IF_ERROR(CheckNameTemplate(text));
  }
  for (const std::string& text : typed.mirrors) {
    CAPSTAN_RETURN_IF_ERROR(CheckNameTemplate(text));
  }
  const std::string as_template = EscapeName(directory);
  CAPSTAN_ASSIGN_OR_RETURN(options.targets, PlanTargets(typed.transfer.targets, as_template));
  CAPSTAN_ASSIGN_OR_RETURN(const auto mirrors, PlanTargets(typed.mirrors, as_template));
  const std::size_t families = options.targets.size();
  if (mirrors.size() % families != 0) {
    return Error(Code::kInvalidArgument, "{} targets of --mirror do not mirror {} of --to",
                 mirrors.size(), families)
        .WithHint("give --mirror once for every --to, and once more for every further copy");
  }
  for (std::size_t i = 0; i < mirrors.size(); i += families) {
    const auto first = mirrors.begin() + static_cast<std::ptrdiff_t>(i);
    options.mirrors.emplace_back(first, first + static_cast<std::ptrdiff_t>(families));
  }
  if (typed.compression.has_value()) {
    CAPSTAN_ASSIGN_OR_RETURN(options.compression, ParseCompression(*typed.compression));
  } else if (typed.no_compression) {
    options.compression = Compression{.on = false};
  }
  options.passphrase = PlanPassphrase(typed.passphrase, directory);
  options.tail = typed.norecovery ? "NORECOVERY" : typed.no_truncate ? "NO_TRUNCATE" : "";
  if (!options.tail.empty() && !options.log) {
    return Error(Code::kInvalidArgument, "--norecovery and --no-truncate are about log backups")
        .WithHint("add --log");
  }
  return options;
}

// Which kind of backup; a full one by default.
void AddKindOptions(CLI::App* command, TypedBackup& typed) {
  if (!typed.backup.log) {
    CLI::Option* const differential = command->add_flag(
        "--differential", typed.backup.differential,
        "Back up what has changed since the last full backup that was not copy-only");
    CLI::Option* const log =
        command->add_flag("--log", typed.backup.log, "Back up the log since the last log backup")
            ->excludes(differential);
    command
        ->add_flag(
            "--restart", typed.backup.restart,
            "Go on with the full backup to these media that was interrupted, if there was one")
        ->excludes(differential)
        ->excludes(log);
  }
  CLI::Option* const norecovery =
      command->add_flag("--norecovery", typed.norecovery,
                        "Of the log: close the database at its end, to be replaced or moved");
  command
      ->add_flag("--no-truncate", typed.no_truncate,
                 "Of the log: the database may be damaged, take what is there")
      ->excludes(norecovery);
}

void AddBackupCommand(CLI::App* command, Commands& commands,
                      const std::shared_ptr<TypedBackup>& typed) {
  command->add_option("DATABASE", typed->databases, "Names of databases, and patterns: 'shop*'")
      ->required();
  AddTargets(command, typed->transfer.targets, "-t,--to")->required();
  AddKindOptions(command, *typed);
  AddTransferOptions(command, typed->transfer);
  AddMediaOptions(command, *typed);
  AddSetOptions(command, *typed);
  AddTransformOptions(command, *typed);
  commands.Add(command, [typed, &commands]() -> Result<Action> {
    CAPSTAN_ASSIGN_OR_RETURN(BackupOptions options, PlanBackup(*typed, commands.working_directory));
    return Action([options = std::move(options), databases = typed->databases,
                   verify = !typed->no_verify](Session& session) {
      return RunBackups(session, options, databases, verify);
    });
  });
}

void AddBackup(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand("backup", "Back databases up, and verify that");
  command->footer(
      "Several --to stripe one backup over several devices, all of one kind. Without --init or "
      "--format the\nbackup is appended to what is on the media. In names of targets, {database}, "
      "{type}, {server}, {date} and\n{time} stand for what they say; {{ is a brace.\n\n"
      "Examples:\n"
      "  capstan backup sales --to /backup/sales.bak --init\n"
      "  capstan backup sales --differential --to /backup/sales_diff.bak\n"
      "  capstan backup sales --log --to '/backup/sales_{date}_{time}.trn'\n"
      "  capstan backup sales 'shop*' --to '/backup/{database}_{type}_{date}_{time}.bak' "
      "--compression=zstd\n"
      "  capstan backup sales --to /disk1/s.bak --to /disk2/s.bak --format --checksum\n"
      "  capstan backup sales --to /disk1/s.bak --mirror /disk2/s.bak --format\n"
      "  capstan backup sales --to s3://backups/sales.bak --max-transfer-size 4M\n"
      "  capstan backup sales --to vdi:VendorDevice");
  AddBackupCommand(command, commands, std::make_shared<TypedBackup>());
}

void AddBackupLog(CLI::App& app, Commands& commands) {
  CLI::App* const command =
      app.add_subcommand("backup-log", "Back the log of databases up: backup --log");
  command->footer(
      "Example:\n"
      "  capstan backup-log '*' --to '/backup/{database}_{date}_{time}.trn'");
  const auto typed = std::make_shared<TypedBackup>();
  typed->backup.log = true;
  AddBackupCommand(command, commands, typed);
}

void AddFileNumber(CLI::App* command, std::optional<int>& file_number) {
  command
      ->add_option("--file", file_number,
                   "Which backup set of the media, from 1; by default the first")
      ->type_name("N")
      ->check(CLI::Range(1, 65535));
}

struct TypedRestore {
  TypedTransfer transfer;
  RestoreOptions restore;
  TypedPassphrase passphrase;
  std::vector<std::string> moves;
  std::optional<std::string> to;
  std::optional<std::string> latest;
};

Result<RestoreOptions> PlanRestore(const TypedRestore& typed, const std::string& directory) {
  RestoreOptions options = typed.restore;
  CAPSTAN_ASSIGN_OR_RETURN(options.transfer, PlanTransfer(typed.transfer));
  CAPSTAN_ASSIGN_OR_RETURN(options.sources, PlanTargets(typed.transfer.targets, directory));
  options.passphrase = PlanPassphrase(typed.passphrase, directory);
  for (const std::string& text : typed.moves) {
    CAPSTAN_ASSIGN_OR_RETURN(auto logical_and_path, ParseMove(text, directory));
    options.moves.push_back(std::move(logical_and_path));
  }
  for (std::string* const path : {&options.data_folder, &options.log_folder, &options.standby}) {
    if (!path->empty()) {
      *path = AbsolutePath(*path, directory);
    }
  }
  const bool found = options.from_catalog || options.recover_only || typed.latest.has_value();
  if (options.sources.empty() && !found) {
    return Error(Code::kInvalidArgument,
                 "none of --from, --from-catalog, --latest and --recover says what to restore");
  }
  if (options.from_catalog && typed.to.has_value()) {
    return Error(Code::kInvalidArgument, "--to does not go with --from-catalog")
        .WithHint("name the folder with --data-folder, or each file with --move LOGICAL=PATH");
  }
  return options;
}

// How far, and how the database is left.
void AddChainOptions(CLI::App* command, TypedRestore& typed, CLI::Option* from) {
  RestoreOptions& restore = typed.restore;
  CLI::Option* const catalog =
      command
          ->add_flag("--from-catalog", restore.from_catalog,
                     "Restore the newest full and differential backup and the log backups that the "
                     "server's history\nknows, up to --stop-at or as far as they go")
          ->excludes(from);
  command
      ->add_option("--source", restore.source_database,
                   "Whose backups; by default the database's own")
      ->type_name("NAME")
      ->needs(catalog);
  command
      ->add_flag("--recover", restore.recover_only,
                 "Restore nothing more: bring a database that is being restored into use")
      ->excludes(from)
      ->excludes(catalog);
  command->add_flag("--log", restore.log, "The backup is one of the log");
  CLI::Option* const norecovery = command->add_flag("--norecovery", restore.norecovery,
                                                    "Leave the database ready for further backups");
  command
      ->add_option("--standby", restore.standby,
                   "The same, and readable in between; the file is for what a writer sets aside")
      ->type_name("PATH")
      ->excludes(norecovery);
  CLI::Option* const at =
      command
          ->add_option("--stop-at", restore.stop_at,
                       "Up to this time: '2030-12-31 18:00:30.5', '2030-12-31T18:00:30Z'")
          ->type_name("TIME");
  CLI::Option* const mark = command
                                ->add_option("--stop-at-mark", restore.stop_at_mark,
                                             "Up to and with this mark, or 'lsn:N'")
                                ->type_name("MARK")
                                ->excludes(at);
  command->add_option("--stop-before-mark", restore.stop_before_mark, "The same, without it")
      ->type_name("MARK")
      ->excludes(at)
      ->excludes(mark);
  command->add_flag("--plan", restore.plan_only, "Say what would be done, and do nothing");
  command->add_option("--data-folder", restore.data_folder, "Put all data files there")
      ->type_name("PATH");
  command->add_option("--log-folder", restore.log_folder, "Put all log files there")
      ->type_name("PATH");
}

void AddRestoreOptions(CLI::App* command, TypedRestore& typed) {
  CLI::Option* const from = AddTargets(command, typed.transfer.targets, "-f,--from");
  command
      ->add_option("--latest", typed.latest,
                   "Restore the newest full backup of the database that the server's history "
                   "knows, or of\nthe database NAME")
      ->type_name("NAME")
      ->expected(0, 1)
      ->excludes(from);
  AddChainOptions(command, typed, from);
  AddTransferOptions(command, typed.transfer);
  command->add_flag("--replace", typed.restore.replace, "Overwrite what is there");
  command->add_flag("--restart", typed.restore.restart,
                    "Go on with the restore that was interrupted, if there was one");
  command->add_flag("--continue-after-error", typed.restore.continue_after_error,
                    "Restore what can be read of a damaged backup");
  AddPassphrase(command, typed.passphrase, "Decrypt the backup with");
  CLI::Option* const move =
      command->add_option("--move", typed.moves, "Put the file with this logical name there")
          ->type_name("LOGICAL=PATH")
          ->allow_extra_args(false);
  command
      ->add_option("--to", typed.to,
                   "Put the only file of the backup there; its logical name is looked up")
      ->type_name("PATH")
      ->excludes(move);
  AddFileNumber(command, typed.restore.file_number);
}

void AddRestore(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand("restore", "Restore a database from a backup");
  command->footer(
      "Examples:\n"
      "  capstan restore sales --from /backup/sales.bak --replace\n"
      "  capstan restore sales --latest --replace\n"
      "  capstan restore sales --from-catalog --stop-at '2030-12-31 18:00' --replace --plan\n"
      "  capstan restore sales --from /backup/sales.bak --norecovery --replace\n"
      "  capstan restore sales --log --from '/backup/sales_*.trn'\n"
      "  capstan restore sales --recover\n"
      "  capstan restore sales_copy --latest=sales --to /srv/copy.db\n"
      "  capstan restore sales --from /disk1/s.bak --from /disk2/s.bak --move sales=/srv/new.db");
  const auto typed = std::make_shared<TypedRestore>();
  command->add_option("DATABASE", typed->restore.database, "Name to restore it under")->required();
  AddRestoreOptions(command, *typed);
  commands.Add(command, [typed, &commands]() -> Result<Action> {
    const std::string& directory = commands.working_directory;
    CAPSTAN_ASSIGN_OR_RETURN(RestoreOptions options, PlanRestore(*typed, directory));
    std::optional<std::string> to;
    if (typed->to.has_value()) {
      to = AbsolutePath(*typed->to, directory);
    }
    std::optional<std::string> latest = typed->latest;
    if (latest.has_value() && latest->empty()) {
      latest = options.database;
    }
    return Action([options = std::move(options), to = std::move(to),
                   latest = std::move(latest)](Session& session) {
      return latest.has_value() ? RunRestoreLatest(session, options, *latest, to)
                                : RunRestore(session, options, to);
    });
  });
}

void AddVerify(CLI::App& app, Commands& commands) {
  CLI::App* const command =
      app.add_subcommand("verify", "Read a backup and check it, without restoring it");
  command->footer(
      "Examples:\n"
      "  capstan verify --from /backup/sales.bak\n"
      "  capstan verify --from /backup/sales.bak --file 3 --sample 10");
  const auto typed = std::make_shared<TypedRestore>();
  AddTargets(command, typed->transfer.targets, "-f,--from")->required();
  AddTransferOptions(command, typed->transfer);
  AddPassphrase(command, typed->passphrase, "Decrypt the backup with");
  AddFileNumber(command, typed->restore.file_number);
  command
      ->add_option("--sample", typed->restore.sample_percent,
                   "Check only so many percent of the frames, spread over the backup")
      ->type_name("PERCENT")
      ->check(CLI::Range(0.0001, 100.0));
  command->add_flag("--load-history", typed->restore.load_history,
                    "Add what the media say to the server's history");
  command->add_flag("--continue-after-error", typed->restore.continue_after_error,
                    "Go on behind damage, and list all of it");
  commands.Add(command, [typed, &commands]() -> Result<Action> {
    CAPSTAN_ASSIGN_OR_RETURN(RestoreOptions options,
                             PlanRestore(*typed, commands.working_directory));
    return Action(
        [options = std::move(options)](Session& session) { return RunVerify(session, options); });
  });
}

}  // namespace

void AddTransferCommands(CLI::App& app, Commands& commands) {
  AddBackup(app, commands);
  AddBackupLog(app, commands);
  AddRestore(app, commands);
  AddVerify(app, commands);
}

}  // namespace capstan::cli
