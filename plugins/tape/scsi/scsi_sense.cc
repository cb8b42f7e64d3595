#include "plugins/tape/scsi/scsi_sense.h"

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "plugins/tape/scsi/big_endian.h"

namespace capstan::tape {
namespace {

using Bytes = std::span<const std::uint8_t>;

enum SenseKey : std::uint8_t {
  kNoSense = 0x0,
  kRecovered = 0x1,
  kNotReady = 0x2,
  kMedium = 0x3,
  kHardware = 0x4,
  kIllegalRequest = 0x5,
  kUnitAttention = 0x6,
  kDataProtect = 0x7,
  kBlankCheck = 0x8,
  kAborted = 0xB,
  kVolumeOverflow = 0xD,
};

constexpr std::array<std::string_view, 16> kKeyWords = {
    "no error",       "recovered error", "not ready",      "medium error",
    "hardware error", "illegal request", "unit attention", "data protect",
    "blank check",    "vendor specific", "copy aborted",   "aborted command",
    "reserved",       "volume overflow", "miscompare",     "completed"};

struct CodeWords {
  std::uint16_t code;  // additional sense code, and its qualifier
  std::string_view words;
};

constexpr std::array kCodeWords = {
    CodeWords{0x0001, "filemark met"},
    CodeWords{0x0002, "end of medium"},
    CodeWords{0x0004, "beginning of medium"},
    CodeWords{0x0005, "end of data"},
    CodeWords{0x0401, "becoming ready"},
    CodeWords{0x0402, "must be initialised first"},
    CodeWords{0x0403, "somebody has to look after it"},
    CodeWords{0x0412, "taken out of service"},
    CodeWords{0x0900, "cannot follow the track"},
    CodeWords{0x0C00, "write error"},
    CodeWords{0x1100, "unrecovered read error"},
    CodeWords{0x1101, "unrecovered read error after many tries"},
    CodeWords{0x1400, "recorded entity not found"},
    CodeWords{0x1403, "end of data not found"},
    CodeWords{0x1A00, "parameter list has a wrong length"},
    CodeWords{0x2000, "no such command"},
    CodeWords{0x2101, "no such element"},
    CodeWords{0x2400, "invalid field in the command"},
    CodeWords{0x2500, "no such logical unit"},
    CodeWords{0x2600, "invalid field in the parameters"},
    CodeWords{0x2700, "write protected"},
    CodeWords{0x2800, "the medium may have changed"},
    CodeWords{0x2801, "an import or export element was used"},
    CodeWords{0x2900, "power on or reset"},
    CodeWords{0x2A01, "mode parameters changed"},
    CodeWords{0x3000, "incompatible medium"},
    CodeWords{0x3001, "unknown format of the medium"},
    CodeWords{0x3002, "incompatible format of the medium"},
    CodeWords{0x3003, "cleaning cartridge installed"},
    CodeWords{0x3007, "cleaning failed"},
    CodeWords{0x300C, "write once: cannot be overwritten"},
    CodeWords{0x3100, "medium format corrupted"},
    CodeWords{0x3300, "tape length error"},
    CodeWords{0x3A00, "no cartridge"},
    CodeWords{0x3B00, "sequential positioning error"},
    CodeWords{0x3B0D, "the destination is full"},
    CodeWords{0x3B0E, "the source is empty"},
    CodeWords{0x3B12, "the magazine is out"},
    CodeWords{0x4400, "internal failure"},
    CodeWords{0x5000, "cannot append to what is on the medium"},
    CodeWords{0x5100, "erase failed"},
    CodeWords{0x5200, "cartridge fault"},
    CodeWords{0x5300, "load or eject failed"},
    CodeWords{0x5302, "removal of the medium is prevented"},
    CodeWords{0x5303, "the drive holds the medium"},
    CodeWords{0x7400, "encryption or decryption failed"},
    CodeWords{0x7401, "cannot decrypt"},
};

std::optional<Sense> ReadFixed(Bytes bytes) {
  if (bytes.size() < 3) {
    return std::nullopt;
  }
  Sense sense{.key = static_cast<std::uint8_t>(bytes[2] & 0x0F),
              .filemark = (bytes[2] & 0x80) != 0,
              .end_of_medium = (bytes[2] & 0x40) != 0,
              .incorrect_length = (bytes[2] & 0x20) != 0};
  if ((bytes[0] & 0x80) != 0 && bytes.size() >= 7) {
    sense.information = static_cast<std::int32_t>(GetBigEndian(bytes, 3, 4));
  }
  if (bytes.size() >= 14 && bytes[7] >= 6) {
    sense.code = bytes[12];
    sense.qualifier = bytes[13];
  }
  return sense;
}

std::optional<Sense> ReadDescriptors(Bytes bytes) {
  constexpr std::size_t kHeaderSize = 8;
  constexpr std::uint8_t kInformation = 0x00;
  constexpr std::uint8_t kStream = 0x04;
  if (bytes.size() < 4) {
    return std::nullopt;
  }
  Sense sense{
      .key = static_cast<std::uint8_t>(bytes[1] & 0x0F), .code = bytes[2], .qualifier = bytes[3]};
  Bytes left = bytes.size() > kHeaderSize ? bytes.subspan(kHeaderSize) : Bytes();
  while (left.size() >= 2 && left.size() - 2 >= left[1]) {
    const Bytes descriptor = left.first(std::size_t{2} + left[1]);
    if (descriptor[0] == kInformation && descriptor.size() >= 12 && (descriptor[2] & 0x80) != 0) {
      sense.information = static_cast<std::int64_t>(GetBigEndian(descriptor, 4, 8));
    } else if (descriptor[0] == kStream && descriptor.size() >= 4) {
      sense.filemark = (descriptor[3] & 0x80) != 0;
      sense.end_of_medium = (descriptor[3] & 0x40) != 0;
      sense.incorrect_length = (descriptor[3] & 0x20) != 0;
    }
    left = left.subspan(descriptor.size());
  }
  return sense;
}

// Drives say it with bits, some only with a code.
Outcome OutcomeWithoutError(const Sense& sense, CommandKind kind) {
  const int code = sense.code << 8 | sense.qualifier;
  const bool is_write = kind == CommandKind::kWrite;
  if (is_write && (sense.end_of_medium || code == 0x0002)) {
    return Outcome::kEarlyWarning;
  }
  if (!is_write && (sense.filemark || code == 0x0001)) {
    return Outcome::kFilemark;
  }
  if (!is_write && code == 0x0005) {
    return Outcome::kEndOfData;
  }
  if (code == 0x0004 || (sense.end_of_medium && kind == CommandKind::kSpace)) {
    return Outcome::kBeginning;
  }
  return Outcome::kDone;
}

Outcome OutcomeOfIllegalRequest(const Sense& sense) {
  switch (sense.code) {
    case 0x30:
      return sense.qualifier == 0x0C ? Outcome::kWorm : Outcome::kIncompatible;
    case 0x3B:
      return sense.qualifier == 0x0E ? Outcome::kNoMedium : Outcome::kUnsupported;
    case 0x53:
      return Outcome::kBusy;  // somebody holds the medium where it is
    default:
      return Outcome::kUnsupported;
  }
}

}  // namespace

std::optional<Sense> ReadSense(Bytes bytes) {
  if (bytes.empty()) {
    return std::nullopt;
  }
  std::optional<Sense> sense;
  const int format = bytes[0] & 0x7F;
  if (format == 0x70 || format == 0x71) {
    sense = ReadFixed(bytes);
  } else if (format == 0x72 || format == 0x73) {
    sense = ReadDescriptors(bytes);
  }
  if (sense.has_value()) {
    sense->deferred = format == 0x71 || format == 0x73;
  }
  return sense;
}

Outcome OutcomeOf(const Sense& sense, CommandKind kind) {
  switch (sense.key) {
    case kNoSense:
    case kRecovered:
      return OutcomeWithoutError(sense, kind);
    case kNotReady:
      return sense.code == 0x3A   ? Outcome::kNoMedium
             : sense.code == 0x30 ? Outcome::kIncompatible
                                  : Outcome::kNotReady;
    case kMedium:
      return sense.code == 0x30 ? Outcome::kIncompatible : Outcome::kMediumError;
    case kIllegalRequest:
      return OutcomeOfIllegalRequest(sense);
    case kUnitAttention:
      return Outcome::kMediumChanged;
    case kDataProtect:
      return sense.code == 0x30   ? Outcome::kWorm
             : sense.code == 0x74 ? Outcome::kMediumError
                                  : Outcome::kWriteProtected;
    case kBlankCheck:
      return Outcome::kEndOfData;
    case kAborted:
      return Outcome::kTransportError;
    case kVolumeOverflow:
      // Deferred: what had been taken into the drive's buffer is lost, not this block alone.
      return sense.deferred ? Outcome::kMediumError : Outcome::kNoRoom;
    default:
      return Outcome::kHardwareError;
  }
}

std::string WordsOf(const Sense& sense) {
  const int code = sense.code << 8 | sense.qualifier;
  std::string_view words;
  for (const CodeWords& candidate : kCodeWords) {
    if (candidate.code == code) {
      words = candidate.words;
    }
  }
  return fmt::format("{}{}{}{} ({:X}/{:02X}/{:02X})", sense.deferred ? "an earlier command: " : "",
                     kKeyWords[sense.key & 0x0F], words.empty() ? "" : ": ", words, sense.key,
                     sense.code, sense.qualifier);
}

bool IsFailure(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
    case Outcome::kEarlyWarning:
    case Outcome::kFilemark:
    case Outcome::kEndOfData:
    case Outcome::kBeginning:
    case Outcome::kBlockTooLong:
      return false;
    default:
      return true;
  }
}

Failure FailureOf(Outcome outcome, std::string message) {
  Failure failure{.os_error = EIO, .message = std::move(message)};
  switch (outcome) {
    case Outcome::kNoRoom:
      failure.os_error = ENOSPC;
      break;
    case Outcome::kNoMedium:
      failure.os_error = ENOMEDIUM;
      failure.hint = "put a cartridge there";
      break;
    case Outcome::kMediumChanged:
      failure.os_error = EAGAIN;
      failure.transient = true;
      break;
    case Outcome::kWriteProtected:
      failure.os_error = EROFS;
      failure.hint = "move the cartridge's write protect tab, or use another cartridge";
      break;
    case Outcome::kWorm:
      failure.os_error = EPERM;
      failure.hint = "a write-once cartridge can only be appended to; use another cartridge";
      break;
    case Outcome::kIncompatible:
      failure.os_error = EMEDIUMTYPE;
      failure.hint = "use a data cartridge of a generation that this drive writes";
      break;
    case Outcome::kNotReady:
      failure.os_error = EAGAIN;
      failure.transient = true;
      break;
    case Outcome::kBusy:
      failure.os_error = EBUSY;
      failure.hint = "end the other program or host that uses the device";
      failure.transient = true;
      break;
    case Outcome::kUnsupported:
      failure.os_error = EOPNOTSUPP;
      break;
    case Outcome::kMediumError:
      failure.hint = "clean the drive; if it happens again with this cartridge, replace that";
      break;
    case Outcome::kTransportError:
      failure.hint = "look at the cable or network, and at the device's own log";
      failure.transient = true;
      break;
    default:
      break;
  }
  return failure;
}

}  // namespace capstan::tape
