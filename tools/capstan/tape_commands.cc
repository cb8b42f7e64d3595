// tape library on the command line.
#include <memory>

#include "tools/capstan/command_set.h"
#include "tools/capstan/commands/tape.h"
#include "tools/capstan/units.h"

namespace capstan::cli {
namespace {

CLI::App* AddVerb(CLI::App& library, const char* name, const char* help, std::string& directory) {
  CLI::App* const command = library.add_subcommand(name, help);
  command->add_option("DIR", directory, "Folder of the library")->required();
  return command;
}

void AddCreateLayout(CLI::App* command, TapeCreateOptions& options) {
  tape::LibraryParameters& parameters = options.parameters;
  parameters.drives = 2;
  command->add_option("--drives", parameters.drives, "How many drives")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--slots", parameters.slots, "How many slots for cartridges")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--ports", parameters.ports, "How many ports to hand cartridges out and in")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--generation", parameters.generation, "Of drives and cartridges")
      ->type_name("LTO-N")
      ->capture_default_str();
  command
      ->add_option("--cartridges", options.cartridges,
                   "How many cartridges for data; by default all\nslots that are left")
      ->type_name("N");
  command->add_option("--worm", options.worm, "How many write-once cartridges")->type_name("N");
  command->add_option("--cleaning", options.cleaning, "How many cleaning cartridges")
      ->type_name("N");
}

void AddCreate(CLI::App& library, Commands& commands) {
  struct Typed {
    TapeCreateOptions options;
    std::string capacity;
    bool time_model = false;
  };
  const auto typed = std::make_shared<Typed>();
  TapeCreateOptions& options = typed->options;
  CLI::App* const command =
      AddVerb(library, "create", "Make a library in a folder of its own", options.directory);
  command->footer(
      "Files take the room that is written, not the capacity. What else can be set\nstands in "
      "DIR/library.toml.\n\n"
      "Example:\n  capstan tape library create /srv/tapes --drives 2 --slots 8 --capacity 10G");
  AddCreateLayout(command, options);
  command
      ->add_option("--capacity", typed->capacity,
                   "Of a cartridge, for example 10G; by default that of\nits generation")
      ->type_name("SIZE");
  CLI::Option* const model = command->add_flag(
      "--time-model", typed->time_model,
      "Account how long real drives would take, and how\noften the tape would stop");
  command
      ->add_option("--clock-scale", options.parameters.clock_scale,
                   "Seconds to sleep for a second of that; 0 = none")
      ->type_name("X")
      ->needs(model);
  commands.AddLocal(command, [typed]() -> Result<Action> {
    TapeCreateOptions planned = typed->options;
    if (!typed->capacity.empty()) {
      CAPSTAN_ASSIGN_OR_RETURN(planned.parameters.capacity_bytes, ParseSize(typed->capacity));
    }
    if (typed->time_model) {
      planned.parameters.time_model = planned.parameters.generation;
    }
    return Action([planned = std::move(planned)](Session& session) {
      return RunTapeCreate(session, planned);
    });
  });
}

void AddView(CLI::App& library, Commands& commands, const char* name, const char* help,
             ExitStatus (*run)(Session&, const TapeViewOptions&)) {
  const auto options = std::make_shared<TapeViewOptions>();
  CLI::App* const command = AddVerb(library, name, help, options->directory);
  AddJson(command, options->format);
  commands.AddLocal(command, [options, run]() -> Result<Action> {
    return Action([options, run](Session& session) { return run(session, *options); });
  });
}

using RunOnCartridge = ExitStatus (*)(Session&, const TapeCartridgeOptions&);

Planner PlannerOf(std::shared_ptr<TapeCartridgeOptions> options, RunOnCartridge run) {
  return [options = std::move(options), run]() -> Result<Action> {
    return Action([options, run](Session& session) { return run(session, *options); });
  };
}

void AddMoves(CLI::App& library, Commands& commands) {
  const auto load = std::make_shared<TapeCartridgeOptions>();
  CLI::App* command = AddVerb(library, "load", "Put a cartridge into a drive", load->directory);
  command->add_option("BARCODE", load->barcode, "Which cartridge")->required();
  command->add_option("DRIVE", load->drive_index, "Which drive, from 0")->required();
  commands.AddLocal(command, PlannerOf(load, RunTapeLoad));

  const auto unload = std::make_shared<TapeCartridgeOptions>();
  command = AddVerb(library, "unload", "Put what is in a drive back", unload->directory);
  command->add_option("DRIVE", unload->drive_index, "Which drive, from 0")->required();
  commands.AddLocal(command, PlannerOf(unload, RunTapeUnload));

  const auto eject = std::make_shared<TapeCartridgeOptions>();
  command = AddVerb(library, "eject", "Put a cartridge into a port", eject->directory);
  command->add_option("BARCODE", eject->barcode, "Which cartridge")->required();
  command->add_flag("--out", eject->out,
                    "Take it out of the library instead; its files stay\nwhere they are");
  commands.AddLocal(command, PlannerOf(eject, RunTapeEject));

  const auto erase = std::make_shared<TapeCartridgeOptions>();
  command = AddVerb(library, "erase", "Make a cartridge blank", erase->directory);
  command->add_option("BARCODE", erase->barcode, "Which cartridge")->required();
  command->add_flag("--yes", erase->yes, "Do not ask");
  commands.AddLocal(command, PlannerOf(erase, RunTapeErase));
}

void AddImport(CLI::App& library, Commands& commands) {
  struct Typed {
    TapeImportOptions options;
    std::string capacity;
  };
  const auto typed = std::make_shared<Typed>();
  TapeImportOptions& options = typed->options;
  CLI::App* const command =
      AddVerb(library, "import", "Bring a cartridge into a free slot", options.directory);
  command->footer(
      "Examples:\n"
      "  capstan tape library import /srv/tapes /mnt/OLD001L8.tap\n"
      "  capstan tape library import /srv/tapes --new CAP009L8\n"
      "  capstan tape library import /srv/tapes CAP001L8   (was ejected before)");
  CLI::Option* const item = command->add_option(
      "ITEM", options.item, "A .tap image to copy, or the barcode of one that was\nejected");
  CLI::Option* const blank =
      command->add_option("--new", options.new_barcode, "A blank cartridge instead")
          ->type_name("BARCODE")
          ->excludes(item);
  command->add_option("--barcode", options.barcode, "Of the image; by default its file's name")
      ->needs(item);
  command->add_option("--capacity", typed->capacity, "Of the blank cartridge")
      ->type_name("SIZE")
      ->needs(blank);
  commands.AddLocal(command, [typed]() -> Result<Action> {
    TapeImportOptions planned = typed->options;
    if (planned.item.empty() && planned.new_barcode.empty()) {
      return Error(Code::kInvalidArgument, "import needs an image, a barcode, or --new BARCODE");
    }
    if (!typed->capacity.empty()) {
      CAPSTAN_ASSIGN_OR_RETURN(planned.capacity_bytes, ParseSize(typed->capacity));
    }
    return Action([planned = std::move(planned)](Session& session) {
      return RunTapeImport(session, planned);
    });
  });
}

}  // namespace

void AddTapeCommands(CLI::App& app, Commands& commands) {
  CLI::App* const tape = app.add_subcommand("tape", "Emulated tape libraries of this machine");
  tape->require_subcommand(1);
  CLI::App* const library = tape->add_subcommand(
      "library", "A folder with drives, slots and cartridges; needs no server");
  library->require_subcommand(1);
  AddCreate(*library, commands);
  AddView(*library, commands, "list", "List the cartridges, also those outside", RunTapeList);
  AddView(*library, commands, "show", "Show every drive, port and slot, as mtx does", RunTapeShow);
  AddMoves(*library, commands);
  AddImport(*library, commands);
}

}  // namespace capstan::cli
