#include "plugins/tape/scsi/scsi_answers.h"

#include <algorithm>

#include "plugins/tape/scsi/big_endian.h"
#include "plugins/tape/scsi/scsi_commands.h"

namespace capstan::tape {
namespace {

constexpr std::size_t kModeHeaderSize = 4;
constexpr std::size_t kBlockDescriptorSize = 8;
constexpr std::uint8_t kElementPage = 0x1D;
constexpr std::uint8_t kTapeAlertPage = 0x2E;
constexpr int kTapeAlertMax = 64;
constexpr std::size_t kElementSizeMin = 12;  // as far as the source address
constexpr std::size_t kVolumeTagSize = 32;

// Texts come padded with blanks, or with zeros.
std::string TextOf(AnswerBytes bytes) {
  std::string text(bytes.begin(), bytes.end());
  text = text.substr(0, text.find('\0'));
  const std::size_t last = text.find_last_not_of(' ');
  text.resize(last == std::string::npos ? 0 : last + 1);
  const std::size_t first = text.find_first_not_of(' ');
  text.erase(0, std::min(first, text.size()));
  // Labels and names are printed: nothing may pass that a terminal would obey.
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

void TakeAttribute(std::uint64_t id, AnswerBytes value, CartridgeAttributes* memory) {
  const auto number = [value]() -> std::optional<std::uint64_t> {
    if (value.empty() || value.size() > sizeof(std::uint64_t)) {
      return std::nullopt;
    }
    return GetBigEndian(value, 0, value.size());
  };
  switch (id) {
    case 0x0000:
      memory->remaining_mib = number();
      break;
    case 0x0001:
      memory->capacity_mib = number();
      break;
    case 0x0003:
      memory->load_count = number();
      break;
    case 0x0408:
      if (value.size() == 1) {
        memory->medium_type = value[0];
      }
      break;
    case 0x0806:
      memory->barcode = TextOf(value);
      break;
    default:
      break;
  }
}

std::optional<ElementKind> KindOf(std::uint8_t type) {
  switch (static_cast<ElementType>(type)) {
    case ElementType::kPicker:
      return ElementKind::kPicker;
    case ElementType::kStorage:
      return ElementKind::kSlot;
    case ElementType::kImportExport:
      return ElementKind::kPort;
    case ElementType::kDrive:
      return ElementKind::kDrive;
  }
  return std::nullopt;
}

// `bytes` is at least kElementSizeMin.
Element ReadElement(AnswerBytes bytes, ElementKind kind, bool has_tag) {
  Element element{.kind = kind,
                  .address = static_cast<std::uint32_t>(GetBigEndian(bytes, 0, 2)),
                  .full = (bytes[2] & 0x01) != 0};
  if ((bytes[9] & 0x80) != 0) {
    element.source_address = static_cast<std::uint32_t>(GetBigEndian(bytes, 10, 2));
  }
  if (has_tag && element.full) {
    const AnswerBytes tag = bytes.subspan(kElementSizeMin);
    element.barcode = TextOf(tag.first(std::min(tag.size(), kVolumeTagSize)));
  }
  return element;
}

}  // namespace

std::optional<InquiryAnswer> ReadInquiry(AnswerBytes bytes) {
  constexpr std::size_t kStandardSize = 36;
  if (bytes.size() < kStandardSize) {
    return std::nullopt;
  }
  return InquiryAnswer{.type = static_cast<std::uint8_t>(bytes[0] & 0x1F),
                       .vendor = TextOf(bytes.subspan(8, 8)),
                       .product = TextOf(bytes.subspan(16, 16)),
                       .revision = TextOf(bytes.subspan(32, 4))};
}

std::optional<std::uint32_t> ReadBlockSizeMax(AnswerBytes bytes) {
  if (bytes.size() < 4) {
    return std::nullopt;
  }
  const auto size_max = static_cast<std::uint32_t>(GetBigEndian(bytes, 1, 3));
  return size_max == 0 ? kTransferMax : size_max;
}

std::optional<DriveMode> ReadDriveMode(AnswerBytes bytes) {
  if (bytes.size() < kModeHeaderSize) {
    return std::nullopt;
  }
  DriveMode mode{.write_protected = (bytes[2] & 0x80) != 0,
                 .buffered_mode = static_cast<std::uint8_t>(bytes[2] >> 4 & 0x07)};
  const AnswerBytes behind = bytes.subspan(kModeHeaderSize);
  if (bytes[3] >= kBlockDescriptorSize && behind.size() >= kBlockDescriptorSize) {
    mode.density_code = behind[0];
    mode.block_length = static_cast<std::uint32_t>(GetBigEndian(behind, 5, 3));
  }
  return mode;
}

std::array<std::uint8_t, 12> VariableBlockMode(std::uint8_t density_code) {
  std::array<std::uint8_t, kModeHeaderSize + kBlockDescriptorSize> parameters{};
  parameters[2] = 0x10;  // buffered
  parameters[3] = kBlockDescriptorSize;
  parameters[4] = density_code;
  return parameters;
}

std::optional<std::uint64_t> ReadShortPosition(AnswerBytes bytes) {
  constexpr std::uint8_t kUnknown = 0x04;
  constexpr std::uint8_t kOverflow = 0x02;
  if (bytes.size() < 8 || (bytes[0] & (kUnknown | kOverflow)) != 0) {
    return std::nullopt;
  }
  return GetBigEndian(bytes, 4, 4);
}

std::optional<std::uint64_t> ReadLongPosition(AnswerBytes bytes) {
  constexpr std::uint8_t kUnknown = 0x04;
  if (bytes.size() < 16 || (bytes[0] & kUnknown) != 0) {
    return std::nullopt;
  }
  return GetBigEndian(bytes, 8, 8);
}

std::optional<CartridgeAttributes> ReadCartridgeAttributes(AnswerBytes bytes) {
  constexpr std::size_t kHeaderSize = 4;
  constexpr std::size_t kAttributeHeaderSize = 5;
  if (bytes.size() < kHeaderSize) {
    return std::nullopt;
  }
  const std::size_t claimed = GetBigEndian(bytes, 0, 4);
  AnswerBytes left = bytes.subspan(kHeaderSize);
  left = left.first(std::min(left.size(), claimed));
  CartridgeAttributes memory;
  while (left.size() >= kAttributeHeaderSize) {
    const std::uint64_t id = GetBigEndian(left, 0, 2);
    const std::size_t size = GetBigEndian(left, 3, 2);
    left = left.subspan(kAttributeHeaderSize);
    if (size > left.size()) {
      break;
    }
    TakeAttribute(id, left.first(size), &memory);
    left = left.subspan(size);
  }
  return memory;
}

std::optional<std::vector<int>> ReadTapeAlerts(AnswerBytes bytes) {
  constexpr std::size_t kHeaderSize = 4;
  if (bytes.size() < kHeaderSize || (bytes[0] & 0x3F) != kTapeAlertPage) {
    return std::nullopt;
  }
  const std::size_t claimed = GetBigEndian(bytes, 2, 2);
  AnswerBytes left = bytes.subspan(kHeaderSize);
  left = left.first(std::min(left.size(), claimed));
  std::vector<int> flags;
  while (left.size() >= kHeaderSize) {
    const auto flag = static_cast<int>(GetBigEndian(left, 0, 2));
    const std::size_t size = left[3];
    left = left.subspan(kHeaderSize);
    if (size == 0 || size > left.size()) {
      break;
    }
    if (flag >= 1 && flag <= kTapeAlertMax && (left[0] & 0x01) != 0) {
      flags.push_back(flag);
    }
    left = left.subspan(size);
  }
  return flags;
}

std::string_view WordsOfTapeAlert(int flag) {
  switch (flag) {
    case 4:
      return "the cartridge is faulty: copy what is on it, and do not use it again";
    case 7:
      return "the cartridge has reached the end of its life";
    case 9:
      return "the cartridge is write protected";
    case 15:
      return "the memory chip in the cartridge does not answer";
    case 20:
      return "the drive must be cleaned now";
    case 21:
      return "the drive is due for cleaning";
    case 22:
      return "the cleaning cartridge is used up";
    case 23:
      return "this is no cleaning cartridge that the drive takes";
    case 30:
    case 31:
      return "the drive is broken: have it serviced";
    case 36:
      return "the drive is too hot";
    default:
      return "";
  }
}

std::optional<std::array<ElementAddresses, 4>> ReadElementAddresses(AnswerBytes bytes) {
  constexpr std::size_t kPageSize = 18;
  if (bytes.size() < kModeHeaderSize || bytes.size() - kModeHeaderSize < bytes[3] + kPageSize) {
    return std::nullopt;
  }
  const AnswerBytes page = bytes.subspan(kModeHeaderSize + bytes[3]);
  if ((page[0] & 0x3F) != kElementPage) {
    return std::nullopt;
  }
  std::array<ElementAddresses, 4> addresses;
  for (std::size_t index = 0; index < addresses.size(); ++index) {
    addresses[index] = {static_cast<std::uint16_t>(GetBigEndian(page, 2 + 4 * index, 2)),
                        static_cast<std::uint16_t>(GetBigEndian(page, 4 + 4 * index, 2))};
  }
  return addresses;
}

bool ReadElements(AnswerBytes bytes, std::vector<Element>* elements) {
  constexpr std::size_t kHeaderSize = 8;
  if (bytes.size() < kHeaderSize) {
    return false;
  }
  AnswerBytes left = bytes.subspan(kHeaderSize);
  // Not every host adapter tells how much of the buffer was used.
  left = left.first(std::min<std::size_t>(left.size(), GetBigEndian(bytes, 5, 3)));
  while (left.size() >= kHeaderSize) {
    const std::optional<ElementKind> kind = KindOf(left[0]);
    const bool has_tag = (left[1] & 0x80) != 0;
    const std::size_t element_size = GetBigEndian(left, 2, 2);
    const std::size_t claimed = GetBigEndian(left, 5, 3);
    left = left.subspan(kHeaderSize);
    if (!kind.has_value() || element_size < kElementSizeMin) {
      return false;
    }
    AnswerBytes page = left.first(std::min(left.size(), claimed));
    left = left.subspan(page.size());
    while (page.size() >= kElementSizeMin) {
      const std::size_t size = std::min(page.size(), element_size);
      elements->push_back(ReadElement(page.first(size), *kind, has_tag));
      page = page.subspan(size);
    }
  }
  return true;
}

}  // namespace capstan::tape
