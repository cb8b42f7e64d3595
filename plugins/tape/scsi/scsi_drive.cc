#include "plugins/tape/scsi/scsi_drive.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace capstan::tape {
namespace {

constexpr std::uint8_t kAllPages = 0x3F;
constexpr std::uint8_t kTapeAlertPage = 0x2E;
constexpr std::uint8_t kWriteOnce = 0x80;
// The least that any drive leaves behind its early warning; those of LTO leave far more.
constexpr std::uint64_t kEarlyWarningBytes = 2ULL << 20;
constexpr std::uint32_t kBlockSizeUnknown = 256U << 10;
constexpr std::size_t kMemorySize = 8'192;

ScsiReply AskInto(ScsiDevice* device, const CommandBlock& block, std::span<std::uint8_t> bytes,
                  std::string_view action) {
  return device->Ask(
      {.block = block, .timeout = kQuickTimeout, .data_in = std::as_writable_bytes(bytes)},
      CommandKind::kOther, action);
}

// READ with a wrong length is no failure: the sense says how long the block is.
void SettleLength(std::size_t wanted, ScsiReply* reply) {
  const std::int64_t difference = reply->sense.has_value() && reply->sense->incorrect_length
                                      ? reply->sense->information.value_or(0)
                                      : 0;
  if (difference < 0) {
    reply->answer.outcome = Outcome::kBlockTooLong;
    reply->answer.bytes = wanted + static_cast<std::uint64_t>(-difference);
  } else if (difference > 0) {
    reply->answer.bytes = wanted - std::min(wanted, static_cast<std::size_t>(difference));
  } else {
    reply->answer.bytes = std::min(wanted, reply->received);
  }
}

}  // namespace

bool KnowsLocate(ScsiDevice* device) {
  std::array<std::uint8_t, kShortPositionSize> bytes{};
  const ScsiReply reply = AskInto(device, ReadShortPositionCommand(), bytes, "find the place of");
  if (reply.answer.outcome == Outcome::kUnsupported) {
    return false;
  }
  // Without a cartridge it is only looked at whether the command is known.
  const std::uint64_t place =
      reply.answer.done() ? ReadShortPosition(std::span(bytes)).value_or(0) : 0;
  const Answer located = device->Do(LocateCommand(place), kMotionTimeout, "locate on");
  return located.outcome != Outcome::kUnsupported && located.outcome != Outcome::kTransportError;
}

std::uint32_t BlockSizeMaxOf(ScsiDevice* device, std::uint32_t otherwise) {
  std::array<std::uint8_t, 6> bytes{};
  const ScsiReply reply = AskInto(device, ReadBlockLimitsCommand(), bytes, "ask the limits of");
  if (!reply.answer.done()) {
    return otherwise;
  }
  return ReadBlockSizeMax(
             std::span<const std::uint8_t>(bytes).first(std::min(reply.received, bytes.size())))
      .value_or(otherwise);
}

Answer ReadMemoryOf(ScsiDevice* device, MountedCartridge* cartridge) {
  std::vector<std::uint8_t> bytes(kMemorySize);
  const ScsiReply reply =
      AskInto(device, ReadAttributeCommand(0, kMemorySize), bytes, "read the cartridge memory of");
  if (!reply.answer.done()) {
    return reply.answer;
  }
  const std::optional<CartridgeAttributes> memory =
      ReadCartridgeAttributes(std::span<const std::uint8_t>(bytes).first(reply.received));
  if (memory.has_value()) {
    const auto bytes_of = [](const std::optional<std::uint64_t>& mib) {
      return mib.has_value() && *mib < UINT64_MAX >> 20 ? *mib << 20 : UINT64_MAX;
    };
    cartridge->barcode = memory->barcode;
    cartridge->capacity_bytes = bytes_of(memory->capacity_mib);
    cartridge->remaining_bytes = bytes_of(memory->remaining_mib);
    cartridge->worm = memory->medium_type == kWriteOnce;
  }
  return {};
}

ScsiDrive::ScsiDrive(const std::string& name, std::unique_ptr<ScsiTransport> transport)
    : device_(name, std::move(transport)) {}

Failure ScsiDrive::Open(const std::string& name, std::unique_ptr<ScsiTransport> transport,
                        std::unique_ptr<TapeDrive>* drive) {
  std::unique_ptr<ScsiDrive> opened(new ScsiDrive(name, std::move(transport)));
  Failure failure = opened->device_.Greet(PeripheralType::kTape);
  if (failure.failed()) {
    return failure;
  }
  const Answer reserved = opened->device_.Do(ReserveCommand(), kQuickTimeout, "reserve");
  if (reserved.outcome == Outcome::kBusy || reserved.outcome == Outcome::kTransportError) {
    return reserved.failure;
  }
  opened->reserved_ = reserved.done();
  opened->limits_ = {.block_size_max = BlockSizeMaxOf(&opened->device_, kBlockSizeUnknown),
                     .locates = KnowsLocate(&opened->device_),
                     .early_warning_bytes = kEarlyWarningBytes};
  if (opened->device_.Do(TestUnitReadyCommand(), kQuickTimeout, "ask").done()) {
    const Answer prepared = opened->Prepare();
    if (!prepared.done() && prepared.outcome != Outcome::kMediumChanged) {
      return prepared.failure;
    }
  }
  *drive = std::move(opened);
  return {};
}

ScsiDrive::~ScsiDrive() {
  if (reserved_) {
    (void)device_.Do(ReleaseCommand(), kQuickTimeout, "release");
  }
}

Answer ScsiDrive::TestReady() {
  const Answer answer =
      Finish(device_.Ask({.block = TestUnitReadyCommand(), .timeout = kQuickTimeout},
                         CommandKind::kOther, "get ready"));
  return answer.done() && !prepared_ ? Prepare() : answer;
}

Answer ScsiDrive::Prepare() {
  std::array<std::uint8_t, 64> bytes{};
  const ScsiReply sensed =
      AskFor(ModeSenseCommand(kAllPages, bytes.size()), bytes, "ask the mode of");
  if (!sensed.answer.done()) {
    return sensed.answer;
  }
  const std::optional<DriveMode> mode =
      ReadDriveMode(std::span<const std::uint8_t>(bytes).first(sensed.received));
  const bool as_wanted =
      mode.has_value() && mode->block_length.value_or(0) == 0 && mode->buffered_mode != 0;
  if (!as_wanted) {
    const auto parameters = VariableBlockMode(mode.has_value() ? mode->density_code : 0);
    const ScsiReply set = device_.Ask({.block = ModeSelectCommand(parameters.size()),
                                       .timeout = kQuickTimeout,
                                       .data_out = std::as_bytes(std::span(parameters))},
                                      CommandKind::kOther, "set the mode of");
    // A drive may know variable blocks only, and then knows no other mode to select.
    if (!set.answer.done() && set.answer.outcome != Outcome::kUnsupported) {
      return set.answer;
    }
  }
  limits_.block_size_max = BlockSizeMaxOf(&device_, limits_.block_size_max);
  prepared_ = true;
  return {};
}

ScsiReply ScsiDrive::AskFor(const CommandBlock& block, std::span<std::uint8_t> bytes,
                            std::string_view action) {
  ScsiReply reply = AskInto(&device_, block, bytes, action);
  reply.answer = Finish(reply);
  return reply;
}

Answer ScsiDrive::Finish(ScsiReply reply) {
  Answer answer = std::move(reply.answer);
  switch (answer.outcome) {
    case Outcome::kMediumChanged:
    case Outcome::kNoMedium:
      prepared_ = false;
      break;
    case Outcome::kMediumError:
    case Outcome::kHardwareError: {
      std::array<std::uint8_t, 512> bytes{};
      const ScsiReply alerts = AskInto(&device_, LogSenseCommand(kTapeAlertPage, bytes.size()),
                                       bytes, "ask the alerts of");
      const auto flags = ReadTapeAlerts(
          std::span<const std::uint8_t>(bytes).first(alerts.answer.done() ? alerts.received : 0));
      for (const int flag : flags.value_or(std::vector<int>())) {
        const std::string_view words = WordsOfTapeAlert(flag);
        if (!words.empty()) {
          answer.failure.hint = fmt::format("{} (TapeAlert {})", words, flag);
          break;
        }
      }
      break;
    }
    default:
      break;
  }
  return answer;
}

Answer ScsiDrive::Inspect(MountedCartridge* cartridge) {
  *cartridge = {};
  std::array<std::uint8_t, 64> bytes{};
  const ScsiReply sensed =
      AskFor(ModeSenseCommand(kAllPages, bytes.size()), bytes, "ask the mode of");
  if (!sensed.answer.done()) {
    return sensed.answer;
  }
  const auto mode = ReadDriveMode(std::span<const std::uint8_t>(bytes).first(sensed.received));
  cartridge->write_protected = mode.has_value() && mode->write_protected;
  if (has_attributes_) {
    const Answer answer = ReadMemoryOf(&device_, cartridge);
    has_attributes_ = answer.outcome != Outcome::kUnsupported;
    if (IsFailure(answer.outcome) && has_attributes_) {
      return answer;
    }
  }
  const std::lock_guard lock(mutex_);
  barcode_ = cartridge->barcode;
  return {};
}

Answer ScsiDrive::Write(std::span<const std::byte> block) {
  if (block.empty() || block.size() > limits_.block_size_max) {
    return {.outcome = Outcome::kUnsupported,
            .failure = {.os_error = EINVAL,
                        .message = fmt::format("unable to write to '{}': blocks have 1 to {} bytes",
                                               device_.name(), limits_.block_size_max)}};
  }
  return Finish(device_.Ask({.block = WriteCommand(static_cast<std::uint32_t>(block.size())),
                             .timeout = kTransferTimeout,
                             .data_out = block},
                            CommandKind::kWrite, "write to"));
}

Answer ScsiDrive::Read(std::span<std::byte> buffer) {
  const std::size_t size = std::min<std::size_t>(buffer.size(), limits_.block_size_max);
  ScsiReply reply = device_.Ask({.block = ReadCommand(static_cast<std::uint32_t>(size)),
                                 .timeout = kTransferTimeout,
                                 .data_in = buffer.first(size)},
                                CommandKind::kRead, "read from");
  if (reply.answer.done()) {
    SettleLength(size, &reply);
  }
  return Finish(std::move(reply));
}

Answer ScsiDrive::WriteFilemarks(std::uint32_t count) {
  return Finish(device_.Ask(
      {.block = WriteFilemarksCommand(std::min(count, kFilemarksMax)), .timeout = kTransferTimeout},
      CommandKind::kWrite, "write a filemark to"));
}

Answer ScsiDrive::Move(const CommandBlock& block, std::string_view action) {
  return Finish(
      device_.Ask({.block = block, .timeout = kMotionTimeout}, CommandKind::kSpace, action));
}

Answer ScsiDrive::Rewind() {
  return Move(RewindCommand(), "rewind");
}

Answer ScsiDrive::SpaceBlocks(std::int64_t count) {
  return count == 0 ? Answer{} : Move(SpaceCommand(SpaceOver::kBlocks, count), "space on");
}

Answer ScsiDrive::SpaceFilemarks(std::int64_t count) {
  return count == 0 ? Answer{} : Move(SpaceCommand(SpaceOver::kFilemarks, count), "space on");
}

Answer ScsiDrive::SpaceToEndOfData() {
  const Answer answer = Move(SpaceCommand(SpaceOver::kEndOfData, 0), "space on");
  return answer.outcome == Outcome::kEndOfData ? Answer{} : answer;
}

Answer ScsiDrive::Locate(std::uint64_t object) {
  if (!limits_.locates) {
    return {.outcome = Outcome::kUnsupported,
            .failure = FailureOf(Outcome::kUnsupported,
                                 fmt::format("drive '{}' cannot locate", device_.name()))};
  }
  return Move(LocateCommand(object), "locate on");
}

Answer ScsiDrive::Position(std::uint64_t* object) {
  if (!limits_.locates) {
    return {
        .outcome = Outcome::kUnsupported,
        .failure = FailureOf(Outcome::kUnsupported,
                             fmt::format("drive '{}' cannot tell its position", device_.name()))};
  }
  std::array<std::uint8_t, kLongPositionSize> bytes{};
  ScsiReply reply = AskFor(ReadShortPositionCommand(), std::span(bytes).first(kShortPositionSize),
                           "find the place of");
  if (!reply.answer.done()) {
    return reply.answer;
  }
  const std::span<const std::uint8_t> answer(bytes);
  std::optional<std::uint64_t> place = ReadShortPosition(answer.first(reply.received));
  if (!place.has_value()) {
    reply = AskFor(ReadLongPositionCommand(), bytes, "find the place of");
    if (!reply.answer.done()) {
      return reply.answer;
    }
    place = ReadLongPosition(answer.first(reply.received));
  }
  if (!place.has_value()) {
    return {.outcome = Outcome::kHardwareError,
            .failure = FailureOf(
                Outcome::kHardwareError,
                fmt::format("drive '{}' does not know where its tape is", device_.name()))};
  }
  *object = *place;
  return {};
}

Answer ScsiDrive::Load() {
  prepared_ = false;
  Answer answer = device_.Do(LoadUnloadCommand(LoadOrUnload::kLoad), kLoadTimeout, "load");
  if (answer.outcome == Outcome::kMediumChanged) {  // which is what is wanted here
    answer = device_.Do(LoadUnloadCommand(LoadOrUnload::kLoad), kLoadTimeout, "load");
  }
  return answer;
}

Answer ScsiDrive::Unload() {
  prepared_ = false;
  {
    const std::lock_guard lock(mutex_);
    barcode_.clear();
  }
  return Finish(
      device_.Ask({.block = LoadUnloadCommand(LoadOrUnload::kUnload), .timeout = kMotionTimeout},
                  CommandKind::kOther, "unload"));
}

DriveStatus ScsiDrive::status() const {
  const std::lock_guard lock(mutex_);
  return {.mode = device_.mode(), .barcode = barcode_, .medium_time_us = device_.busy_us()};
}

}  // namespace capstan::tape
