// Reads what commands of scsi_commands.h answer with.
//
// Pure functions. The bytes are somebody else's: every length that they claim is checked against
// what has arrived, and nothing outside is read. False or nullopt: too short to mean anything.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

using AnswerBytes = std::span<const std::uint8_t>;

enum class PeripheralType : std::uint8_t { kTape = 0x01, kChanger = 0x08 };

struct InquiryAnswer {
  std::uint8_t type = 0;  // PeripheralType, or another
  std::string vendor;
  std::string product;
  std::string revision;
};
std::optional<InquiryAnswer> ReadInquiry(AnswerBytes bytes);

// READ BLOCK LIMITS: the longest block, in bytes; kTransferMax if the drive names no limit.
std::optional<std::uint32_t> ReadBlockSizeMax(AnswerBytes bytes);

// MODE SENSE(6) of a drive.
struct DriveMode {
  bool write_protected = false;
  std::uint8_t buffered_mode = 0;  // 0: a write is answered when it is on the medium
  std::uint8_t density_code = 0;
  std::optional<std::uint32_t> block_length = {};  // 0: variable; nullopt: not told
};
std::optional<DriveMode> ReadDriveMode(AnswerBytes bytes);
// The parameters of a MODE SELECT(6) for buffered writes of blocks of variable size.
std::array<std::uint8_t, 12> VariableBlockMode(std::uint8_t density_code);

// READ POSITION; nullopt too if the drive says that it does not know, or that the number does not
// fit into the form.
std::optional<std::uint64_t> ReadShortPosition(AnswerBytes bytes);
std::optional<std::uint64_t> ReadLongPosition(AnswerBytes bytes);

// READ ATTRIBUTE: what the cartridge's memory says, as far as it does.
struct CartridgeAttributes {
  std::optional<std::uint64_t> remaining_mib = {};
  std::optional<std::uint64_t> capacity_mib = {};
  std::optional<std::uint64_t> load_count = {};
  std::optional<std::uint8_t> medium_type = {};  // 0x00 data, 0x01 cleaning, 0x80 write once
  std::string barcode = {};
};
std::optional<CartridgeAttributes> ReadCartridgeAttributes(AnswerBytes bytes);

// LOG SENSE of the TapeAlert page: the numbers of the flags that are set, 1 to 64.
std::optional<std::vector<int>> ReadTapeAlerts(AnswerBytes bytes);
// What an operator should know of a flag; empty for those that say nothing new.
std::string_view WordsOfTapeAlert(int flag);

// MODE SENSE(6) of a library, page 1D: which elements there are. In the order of ElementType.
enum class ElementType : std::uint8_t { kPicker = 1, kStorage = 2, kImportExport = 3, kDrive = 4 };
struct ElementAddresses {
  std::uint16_t first = 0;
  std::uint16_t count = 0;
};
std::optional<std::array<ElementAddresses, 4>> ReadElementAddresses(AnswerBytes bytes);

// READ ELEMENT STATUS: appends what is there. Of a last descriptor that was cut off, what has
// arrived is used: there are libraries whose answer is some bytes short.
bool ReadElements(AnswerBytes bytes, std::vector<Element>* elements);

}  // namespace capstan::tape
