// certificate, catalog, media and device on the command line.
#include <memory>

#include "tools/capstan/command_set.h"
#include "tools/capstan/statements.h"
#include "tools/capstan/units.h"

namespace capstan::cli {
namespace {

// What a command on certificates is told; paths are the server's.
CertificateOptions Absolute(CertificateOptions options, const std::string& directory) {
  for (std::string* const path : {&options.file, &options.key_file}) {
    if (!path->empty()) {
      *path = AbsolutePath(*path, directory);
    }
  }
  return options;
}

void AddKeyFileOptions(CLI::App* command, CertificateOptions& options, const char* help) {
  CLI::Option* const key = command->add_option("--key", options.key_file, help)->type_name("PATH");
  command
      ->add_option(
          "--key-passphrase-file", options.key_passphrase_file,
          "The passphrase of that file is the first line of this one; '-' = standard input")
      ->type_name("FILE")
      ->needs(key);
}

void AddCertificateAdd(CLI::App& certificate, Commands& commands) {
  CLI::App* const command = certificate.add_subcommand("add", "Make a certificate, or import one");
  command->footer(
      "Paths are the server's. Without --from, a new key of 3072 bits is made. Keep a copy outside "
      "of the\nserver ('capstan certificate export'): without it, what it encrypts is lost with "
      "the server.\n\n"
      "Examples:\n"
      "  capstan certificate add backups\n"
      "  capstan certificate add backups --from /safe/backups.crt --key /safe/backups.key");
  const auto options = std::make_shared<CertificateOptions>();
  command->add_option("NAME", options->name, "Its name in statements")->required();
  CLI::Option* const from =
      command->add_option("--from", options->file, "Import the certificate in this PEM file")
          ->type_name("PATH");
  command->add_option("--subject", options->subject, "Whom it is for; by default its name")
      ->type_name("TEXT")
      ->excludes(from);
  AddKeyFileOptions(command, *options, "PEM file of its private key; without it, it only encrypts");
  command->get_option("--key")->needs(from);
  commands.Add(command, [options, &commands]() -> Result<Action> {
    return Action([options = Absolute(*options, commands.working_directory)](Session& session) {
      return RunCertificateAdd(session, options);
    });
  });
}

void AddCertificateExport(CLI::App& certificate, Commands& commands) {
  CLI::App* const command =
      certificate.add_subcommand("export", "Write a certificate to a file of the server");
  const auto options = std::make_shared<CertificateOptions>();
  command->add_option("NAME", options->name, "Which")->required();
  command->add_option("--to", options->file, "PEM file for the certificate; must not exist")
      ->type_name("PATH")
      ->required();
  AddKeyFileOptions(command, *options, "PEM file for its private key; must not exist");
  commands.Add(command, [options, &commands]() -> Result<Action> {
    return Action([options = Absolute(*options, commands.working_directory)](Session& session) {
      return RunCertificateExport(session, options);
    });
  });
}

void AddCertificate(CLI::App& app, Commands& commands) {
  CLI::App* const certificate = app.add_subcommand(
      "certificate", "Make, import, export and remove the certificates that encrypt backups");
  certificate->require_subcommand(1);
  AddCertificateAdd(*certificate, commands);
  AddListCommand(*certificate, commands, "list", "List the certificates",
                 ListSubject::kCertificates);
  AddCertificateExport(*certificate, commands);
  CLI::App* const remove = certificate->add_subcommand(
      "remove", "Remove a certificate; what it encrypted can then be restored with a copy only");
  const auto name = std::make_shared<std::string>();
  remove->add_option("NAME", *name, "Which")->required();
  commands.Add(remove, [name]() -> Result<Action> {
    return Action([name](Session& session) { return RunCertificateRemove(session, *name); });
  });
}

void AddCatalog(CLI::App& app, Commands& commands) {
  CLI::App* const catalog = app.add_subcommand("catalog", "The server's history of backups");
  catalog->require_subcommand(1);
  CLI::App* const rebuild = catalog->add_subcommand(
      "rebuild", "Add what media on disk say to the history, for example after its loss");
  rebuild->footer(
      "Paths are the server's: media, or folders, which are searched with all below them. Media "
      "are "
      "known by\nwhat is in them. What is known already stays as it is. Exit status 1 if one could "
      "not be read.\n\n"
      "Example:\n  capstan catalog rebuild /backup /disk2/backup");
  const auto options = std::make_shared<RebuildOptions>();
  rebuild->add_option("PATH", options->paths, "Files and folders")
      ->required()
      ->check(CLI::Validator(
          [](std::string& path) { return path.empty() ? std::string("a path is empty") : ""; },
          ""));
  AddJson(rebuild, options->format);
  commands.Add(rebuild, [options, &commands]() -> Result<Action> {
    RebuildOptions absolute = *options;
    for (std::string& path : absolute.paths) {
      path = AbsolutePath(path, commands.working_directory);
    }
    return Action([absolute = std::move(absolute)](Session& session) {
      return RunCatalogRebuild(session, absolute);
    });
  });
}

void AddMedia(CLI::App& app, Commands& commands) {
  CLI::App* const media = app.add_subcommand("media", "What is on media");
  media->require_subcommand(1);
  CLI::App* const show = media->add_subcommand("show", "Draw media: sets, sizes, damage");
  show->footer(
      "Paths are the server's; 's3://..', 'tape:NAME' and 'vdi:NAME' name other media. Backups "
      "themselves are\nnot read: 'capstan verify' finds what is wrong inside. Exit status 1 if a "
      "medium is damaged or none.\n\n"
      "Example:\n  capstan media show /backup/sales.bak");
  struct Typed {
    std::vector<std::string> targets;
    MediaShowOptions options;
  };
  const auto typed = std::make_shared<Typed>();
  show->add_option("PATH", typed->targets, "Media")->required();
  show->add_flag("--blocks", typed->options.blocks, "List every block of them, too");
  AddJson(show, typed->options.format);
  commands.Add(show, [typed, &commands]() -> Result<Action> {
    MediaShowOptions options = typed->options;
    for (const std::string& text : typed->targets) {
      CAPSTAN_ASSIGN_OR_RETURN(Target target, ParseTarget(text, commands.working_directory));
      options.media.push_back(std::move(target));
    }
    return Action([options = std::move(options)](Session& session) {
      return RunMediaShow(session, options);
    });
  });
}

struct TypedBench {
  std::string target;
  std::string size = "1GB";
  std::string transfer_size;
  std::string device_class;
  bool no_read = false;
  OutputFormat format = OutputFormat::kTable;
};

Result<DeviceBench> PlanBench(const TypedBench& typed, const std::string& directory) {
  DeviceBench bench;
  CAPSTAN_ASSIGN_OR_RETURN(bench.target, ParseTarget(typed.target, directory));
  if (typed.device_class == "url") {
    bench.target = {.target_class = TargetClass::kUrl, .name = typed.target};
  } else if (typed.device_class == "disk") {
    bench.target.target_class = TargetClass::kDisk;
  }
  if (bench.target.target_class != TargetClass::kDisk &&
      bench.target.target_class != TargetClass::kUrl) {
    return Error(Code::kInvalidArgument, "'{}' is neither a folder nor a URL", typed.target)
        .WithHint("tapes would be overwritten, and virtual devices are their vendors'");
  }
  constexpr std::uint64_t kMebibyte = 1U << 20;
  CAPSTAN_ASSIGN_OR_RETURN(const std::uint64_t size, ParseSize(typed.size));
  if (size < kMebibyte || size % kMebibyte != 0) {
    return Error(Code::kInvalidArgument, "--size must be a multiple of 1 MiB");
  }
  bench.size_mb = size / kMebibyte;
  if (!typed.transfer_size.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(bench.transfer_size, ParseSize(typed.transfer_size));
  }
  bench.read = !typed.no_read;
  return bench;
}

void AddDeviceBench(CLI::App& device, Commands& commands) {
  CLI::App* const command =
      device.add_subcommand("bench", "Measure a target by itself, without a database");
  command->footer(
      "Writes a medium of its own beneath the folder or URL, on the way that backups take, reads "
      "it back,\ncompares it and removes it; nothing that exists is touched. 'stalled' is the "
      "share of the time in which\nno buffer was free: the device is what limits. 'idle' is the "
      "share in which the device had nothing to do.\n\n"
      "Examples:\n"
      "  capstan device bench /backup\n"
      "  capstan device bench s3://backups/test --size 4GB --transfer-size 4M");
  const auto typed = std::make_shared<TypedBench>();
  command
      ->add_option("URI", typed->target, "An existing folder, or a URL such as s3://BUCKET/PREFIX")
      ->required();
  command->add_option("--size", typed->size, "How much to write")
      ->type_name("BYTES")
      ->capture_default_str();
  command
      ->add_option("--transfer-size", typed->transfer_size,
                   "Bytes per transfer: a multiple of 64K up to 4M; by default 1M")
      ->type_name("BYTES");
  command
      ->add_option("--device-class", typed->device_class,
                   "disk or url; by default what the target looks like")
      ->check(CLI::IsMember({"disk", "url"}));
  command->add_flag("--no-read", typed->no_read, "Do not read back what was written");
  AddJson(command, typed->format);
  commands.Add(command, [typed, &commands]() -> Result<Action> {
    CAPSTAN_ASSIGN_OR_RETURN(DeviceBench bench, PlanBench(*typed, commands.working_directory));
    return Action([options = DeviceBenchOptions{std::move(bench), typed->format}](
                      Session& session) { return RunDeviceBench(session, options); });
  });
}

void AddExpire(CLI::App& app, Commands& commands) {
  CLI::App* const command =
      app.add_subcommand("expire", "Remove backups that nothing kept needs any more");
  command->footer(
      "Without names it looks at all databases of the history. A medium goes only when all its "
      "backups may.\n\n"
      "Examples:\n"
      "  capstan expire --keep-days 14 --dry-run\n"
      "  capstan expire --keep-full 3 sales");
  struct Typed {
    ExpireOptions options;
    OutputFormat format = OutputFormat::kTable;
  };
  constexpr int kKeepMax = 36'500;
  const auto typed = std::make_shared<Typed>();
  command->add_option("DATABASE", typed->options.databases, "Names of databases")
      ->expected(0, static_cast<int>(kExpireDatabasesMax));
  CLI::Option_group* const keep = command->add_option_group("What is kept");
  keep->add_option("--keep-full", typed->options.keep_full,
                   "The newest N full backups of each database, and what follows them")
      ->type_name("N")
      ->check(CLI::Range(1, kKeepMax));
  keep->add_option("--keep-days", typed->options.keep_days,
                   "Every point in time of the last N days")
      ->type_name("N")
      ->check(CLI::Range(1, kKeepMax));
  keep->require_option(1);
  command->add_flag("--dry-run", typed->options.dry_run, "Say what would go, and remove nothing");
  AddJson(command, typed->format);
  commands.Add(command, [typed]() -> Result<Action> {
    return Action(
        [typed](Session& session) { return RunExpire(session, typed->options, typed->format); });
  });
}

}  // namespace

void AddStoreCommands(CLI::App& app, Commands& commands) {
  CLI::App* const device = app.add_subcommand("device", "Try devices");
  device->require_subcommand(1);
  AddDeviceBench(*device, commands);
  AddCertificate(app, commands);
  AddCatalog(app, commands);
  AddExpire(app, commands);
  AddMedia(app, commands);
}

}  // namespace capstan::cli
