#include "plugins/tape/scsi/scsi_commands.h"

#include <limits>

#include "plugins/tape/scsi/big_endian.h"

namespace capstan::tape {
namespace {

constexpr std::uint8_t kLogCumulative = 0x40;     // current values
constexpr std::uint8_t kWithVolumeTags = 0x10;    // READ ELEMENT STATUS
constexpr std::uint8_t kLongPositionForm = 0x06;  // READ POSITION
constexpr std::int64_t kShortSpaceMax = 0x7F'FFFF;

CommandBlock Block(std::uint8_t operation, std::size_t size) {
  CommandBlock block;
  block.bytes[0] = operation;
  block.size = size;
  return block;
}

// READ(6), WRITE(6), WRITE FILEMARKS(6) and SPACE(6) have their 24 bits at the same place.
CommandBlock BlockOf24(std::uint8_t operation, std::uint8_t flags, std::uint64_t value) {
  CommandBlock block = Block(operation, 6);
  block.bytes[1] = flags;
  PutBigEndian(block.bytes, 2, 3, value);
  return block;
}

}  // namespace

CommandBlock TestUnitReadyCommand() {
  return Block(0x00, 6);
}

CommandBlock InquiryCommand(std::uint16_t answer_size) {
  CommandBlock block = Block(0x12, 6);
  PutBigEndian(block.bytes, 3, 2, answer_size);
  return block;
}

CommandBlock ModeSenseCommand(std::uint8_t page, std::uint8_t answer_size) {
  CommandBlock block = Block(0x1A, 6);
  block.bytes[2] = page;
  block.bytes[4] = answer_size;
  return block;
}

CommandBlock ModeSelectCommand(std::uint8_t parameter_size) {
  CommandBlock block = Block(0x15, 6);
  block.bytes[1] = 0x10;  // pages have the standard's form
  block.bytes[4] = parameter_size;
  return block;
}

CommandBlock LogSenseCommand(std::uint8_t page, std::uint16_t answer_size) {
  CommandBlock block = Block(0x4D, 10);
  block.bytes[2] = kLogCumulative | page;
  PutBigEndian(block.bytes, 7, 2, answer_size);
  return block;
}

CommandBlock ReserveCommand() {
  return Block(0x16, 6);
}

CommandBlock ReleaseCommand() {
  return Block(0x17, 6);
}

CommandBlock ReadBlockLimitsCommand() {
  return Block(0x05, 6);
}

CommandBlock ReadCommand(std::uint32_t size) {
  return BlockOf24(0x08, 0, size);
}

CommandBlock WriteCommand(std::uint32_t size) {
  return BlockOf24(0x0A, 0, size);
}

CommandBlock WriteFilemarksCommand(std::uint32_t count) {
  return BlockOf24(0x10, 0, count);
}

CommandBlock SpaceCommand(SpaceOver what, std::int64_t count) {
  const auto code = static_cast<std::uint8_t>(what);
  if (count >= -kShortSpaceMax - 1 && count <= kShortSpaceMax) {
    return BlockOf24(0x11, code, static_cast<std::uint64_t>(count));
  }
  CommandBlock block = Block(0x91, 16);
  block.bytes[1] = code;
  PutBigEndian(block.bytes, 4, 8, static_cast<std::uint64_t>(count));
  return block;
}

CommandBlock LocateCommand(std::uint64_t object) {
  if (object <= std::numeric_limits<std::uint32_t>::max()) {
    CommandBlock block = Block(0x2B, 10);
    PutBigEndian(block.bytes, 3, 4, object);
    return block;
  }
  CommandBlock block = Block(0x92, 16);
  PutBigEndian(block.bytes, 4, 8, object);
  return block;
}

CommandBlock ReadShortPositionCommand() {
  return Block(0x34, 10);
}

CommandBlock ReadLongPositionCommand() {
  CommandBlock block = Block(0x34, 10);
  block.bytes[1] = kLongPositionForm;
  return block;
}

CommandBlock RewindCommand() {
  return Block(0x01, 6);
}

CommandBlock LoadUnloadCommand(LoadOrUnload what) {
  CommandBlock block = Block(0x1B, 6);
  block.bytes[4] = static_cast<std::uint8_t>(what);
  return block;
}

CommandBlock ReadAttributeCommand(std::uint16_t first, std::uint32_t answer_size) {
  CommandBlock block = Block(0x8C, 16);
  PutBigEndian(block.bytes, 8, 2, first);
  PutBigEndian(block.bytes, 10, 4, answer_size);
  return block;
}

CommandBlock ReadElementStatusCommand(const ElementRange& range, std::uint32_t answer_size) {
  CommandBlock block = Block(0xB8, 12);
  block.bytes[1] = kWithVolumeTags | range.type;
  PutBigEndian(block.bytes, 2, 2, range.first_address);
  PutBigEndian(block.bytes, 4, 2, range.count);
  PutBigEndian(block.bytes, 7, 3, answer_size);
  return block;
}

CommandBlock InitializeElementStatusCommand() {
  return Block(0x07, 6);
}

CommandBlock MoveMediumCommand(std::uint16_t picker, std::uint16_t from, std::uint16_t to) {
  CommandBlock block = Block(0xA5, 12);
  PutBigEndian(block.bytes, 2, 2, picker);
  PutBigEndian(block.bytes, 4, 2, from);
  PutBigEndian(block.bytes, 6, 2, to);
  return block;
}

}  // namespace capstan::tape
