// A tape-like device on an emulated drive: filemarks, positions, early warning, change of media.
//
//   tape_client {--backup|--restore} DATABASE --tapes FOLDER [--capacity BYTES]
//               [--early-warning BYTES [--announce no]] [--soft-filemarks BYTES]
//               [as in session.h]
//
// The drive warns from --early-warning before the end on; with --announce no, the server is not
// told how much that is. The folder is the library: cartridge n is FOLDER/n.tape. VDC_Load asks for
// a cartridge by its number; a blank one is taken for a backup that needs it.
#include <cstdio>
#include <map>
#include <string>

#include "arguments.h"
#include "cartridge.h"
#include "session.h"

namespace {

class Drive : public vendor::Medium {
 public:
  Drive(const std::string& folder, bool backup, const vendor::Cartridge::Format& format)
      : folder_(folder), backup_(backup), loaded_(0), cartridge_(format) {}

  vendor::Completion Load(int number) {
    const std::string path = folder_ + "/" + std::to_string(number) + ".tape";
    if (!cartridge_.Load(path, backup_)) {
      cartridge_.Unload();
      return vendor::Failed(vendor::kNoMediaInDrive);
    }
    loaded_ = number;
    std::printf("Loaded cartridge %d\n", loaded_);
    return vendor::Done();
  }

  // How often each command came and, for those that ended otherwise than with 0, each code.
  void PrintCounts() const {
    for (const auto& count : commands_) {
      std::printf("Command %d: %lu\n", count.first, count.second);
    }
    for (const auto& count : codes_) {
      std::printf("Completion code %d: %lu\n", count.first, count.second);
    }
  }

  vendor::Completion Execute(const VDC_Command& command) override {
    ++commands_[command.commandCode];
    const vendor::Completion completion = Dispatch(command);
    if (completion.code != ERROR_SUCCESS) {
      ++codes_[completion.code];
    }
    return completion;
  }

 private:
  vendor::Completion Dispatch(const VDC_Command& command) {
    switch (command.commandCode) {
      case VDC_Read:
        return cartridge_.Read(command.buffer, static_cast<unsigned long>(command.size));
      case VDC_Write:
        return cartridge_.Write(command.buffer, static_cast<unsigned long>(command.size));
      case VDC_WriteMark:
        return cartridge_.WriteMark();
      case VDC_SkipMarks:
        return cartridge_.SkipMarks(command.size);
      case VDC_SkipBlocks:
        return cartridge_.SkipBlocks(command.size);
      case VDC_Rewind:
        return cartridge_.Rewind();
      case VDC_GetPosition:
        return cartridge_.GetPosition();
      case VDC_SetPosition:
        return cartridge_.SetPosition(command.position);
      case VDC_Load:
        return Load(command.size);
      case VDC_Flush:
        return cartridge_.Flush();
      case VDC_ClearError:
        return vendor::Done();
      default:
        return vendor::Failed(ERROR_NOT_SUPPORTED);
    }
  }

  const std::string folder_;
  const bool backup_;
  int loaded_;
  vendor::Cartridge cartridge_;
  std::map<int, unsigned long> commands_;
  std::map<int, unsigned long> codes_;
};

}  // namespace

int main(int argc, char** argv) {
  const vendor::Arguments arguments(argc, argv);
  vendor::Session session(arguments);
  session.config.features = VDF_LikeTape;
  session.config.softFileMarkBlockSize =
      static_cast<uint32_t>(arguments.Number("soft-filemarks", 0));
  const long early_warning = arguments.Number("early-warning", 0);
  if (arguments.Get("announce") != "no") {
    session.config.EOMWarningSize = static_cast<uint32_t>(early_warning);
  }
  if (!session.Begin() || !session.AwaitConfiguration()) {
    return session.End(false);
  }
  const vendor::Cartridge::Format format = {
      session.config.blockSize, session.config.softFileMarkBlockSize,
      static_cast<std::uint64_t>(arguments.Number("capacity", 0)),
      static_cast<std::uint64_t>(early_warning)};
  Drive drive(arguments.Required("tapes"), session.backup(), format);
  ClientVirtualDevice* device = session.Open(0);
  if (device == nullptr || drive.Load(1).code != ERROR_SUCCESS) {
    return session.End(false);
  }
  const int status = vendor::Serve(device, &drive);
  vendor::Session::Report(0, status);
  drive.PrintCounts();
  return session.End(status == VD_E_CLOSE);
}
