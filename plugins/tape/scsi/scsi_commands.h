// Command blocks of the commands that drives (SSC) and libraries (SMC) are asked, as bytes.
//
// Pure functions; what comes back is read by scsi_answers.h and scsi_sense.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace capstan::tape {

struct CommandBlock {
  std::array<std::uint8_t, 16> bytes{};
  std::size_t size = 6;

  std::span<const std::uint8_t> view() const { return std::span(bytes).first(size); }
};

// The longest block that READ(6) and WRITE(6) can name.
inline constexpr std::uint32_t kTransferMax = 0xFF'FFFF;
inline constexpr std::uint32_t kFilemarksMax = 0xFF'FFFF;

// Both kinds of device.
CommandBlock TestUnitReadyCommand();
CommandBlock InquiryCommand(std::uint16_t answer_size);
CommandBlock ModeSenseCommand(std::uint8_t page, std::uint8_t answer_size);
CommandBlock ModeSelectCommand(std::uint8_t parameter_size);
CommandBlock LogSenseCommand(std::uint8_t page, std::uint16_t answer_size);
// For this initiator, until RELEASE or until the connection ends: a host that dies leaves nothing
// locked, unlike persistent reservations.
CommandBlock ReserveCommand();
CommandBlock ReleaseCommand();

// Drives. Blocks are of variable size: one command, one block.
CommandBlock ReadBlockLimitsCommand();
CommandBlock ReadCommand(std::uint32_t size);
CommandBlock WriteCommand(std::uint32_t size);
CommandBlock WriteFilemarksCommand(std::uint32_t count);
enum class SpaceOver : std::uint8_t { kBlocks = 0, kFilemarks = 1, kEndOfData = 3 };
// The short form where `count` fits into its 24 bits.
CommandBlock SpaceCommand(SpaceOver what, std::int64_t count);
// The short form where `object` fits into its 32 bits.
CommandBlock LocateCommand(std::uint64_t object);
inline constexpr std::uint8_t kShortPositionSize = 20;
inline constexpr std::uint8_t kLongPositionSize = 32;
CommandBlock ReadShortPositionCommand();
CommandBlock ReadLongPositionCommand();
CommandBlock RewindCommand();
enum class LoadOrUnload : std::uint8_t { kUnload = 0, kLoad = 1 };
CommandBlock LoadUnloadCommand(LoadOrUnload what);
// Of the memory in the cartridge, beginning with the attribute `first`.
CommandBlock ReadAttributeCommand(std::uint16_t first, std::uint32_t answer_size);

// Libraries.
struct ElementRange {
  std::uint8_t type = 0;  // ElementType of scsi_answers.h; 0: all
  std::uint16_t first_address = 0;
  std::uint16_t count = 0;
};
CommandBlock ReadElementStatusCommand(const ElementRange& range, std::uint32_t answer_size);
CommandBlock InitializeElementStatusCommand();
CommandBlock MoveMediumCommand(std::uint16_t picker, std::uint16_t from, std::uint16_t to);

}  // namespace capstan::tape
