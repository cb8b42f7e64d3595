#include "vdi/configuration.h"

#include <algorithm>
#include <bit>
#include <set>

namespace capstan::vdi {
namespace {

constexpr std::uint32_t kAlignmentMax = 65536;
constexpr std::uint32_t kBlockSizeMin = 512;
constexpr std::uint32_t kBlockSizeMax = 65536;
constexpr std::uint32_t kTransferUnit = 65536;
constexpr std::uint32_t kTransferSizeMax = 4 << 20;
constexpr std::uint32_t kPrefixZoneSizeMax = 1 << 20;
constexpr std::uint32_t kMaxIoDepth = 4;  // VDI reports it still, and always so

// Any of these may be added to any kind of device.
constexpr std::uint32_t kOptionalFeatures = feature::kDiscard | feature::kSnapshotPrepare |
                                            feature::kEnumFrozenFiles | feature::kVssWriter |
                                            feature::kRequestComplete;

bool IsSupportedKind(std::uint32_t features) {
  switch (features & ~kOptionalFeatures) {
    case feature::kLikePipe:
    case feature::kLikePipe | feature::kRemovable:
    case feature::kLikeTape:
    case feature::kLikeDisk:
    case feature::kLikeDisk | feature::kRemovable:
      return true;
    default:
      return false;
  }
}

// A command, and the features any one of which offers it; 0: every client does.
struct Offer {
  CommandCode code;
  std::uint32_t features;
};
constexpr Offer kOffers[] = {
    {CommandCode::kRead, 0},
    {CommandCode::kWrite, 0},
    {CommandCode::kClearError, 0},
    {CommandCode::kFlush, 0},
    {CommandCode::kSnapshot, 0},
    {CommandCode::kMountSnapshot, 0},
    {CommandCode::kRewind, feature::kRewind},
    {CommandCode::kWriteMark, feature::kFileMarks},
    {CommandCode::kSkipMarks, feature::kFileMarks},
    {CommandCode::kSkipBlocks, feature::kSkipBlocks},
    {CommandCode::kLoad, feature::kRemovable},
    {CommandCode::kGetPosition, feature::kPosition | feature::kRandomAccess},
    {CommandCode::kSetPosition, feature::kPosition | feature::kRandomAccess},
    {CommandCode::kDiscard, feature::kDiscard},
    {CommandCode::kPrepareToFreeze, feature::kSnapshotPrepare},
    {CommandCode::kFileInfoBegin, feature::kEnumFrozenFiles},
    {CommandCode::kFileInfoEnd, feature::kEnumFrozenFiles},
    {CommandCode::kComplete, feature::kCompleteEnabled},
};

}  // namespace

std::uint32_t OfferedCommands(std::uint32_t features) {
  std::uint32_t offered = 0;
  for (const Offer& offer : kOffers) {
    if (offer.features == 0 || (offer.features & features) != 0) {
      offered |= 1U << static_cast<int>(offer.code);
    }
  }
  return offered;
}

bool OffersCommand(std::uint32_t features, CommandCode code, std::uint32_t size) {
  const auto number = static_cast<std::uint32_t>(code);
  if (number > static_cast<std::uint32_t>(CommandCode::kComplete) ||
      (OfferedCommands(features) >> number & 1) == 0) {
    return false;
  }
  const bool counts = code == CommandCode::kSkipMarks || code == CommandCode::kSkipBlocks;
  return !counts || static_cast<std::int32_t>(size) >= 0 ||
         (features & feature::kReversePosition) != 0;
}

Status CheckName(std::string_view name) {
  if (name.empty()) {
    return Error(Code::kInvalidArgument, "a device name is empty");
  }
  if (name.size() > kSetNameSizeMax) {
    return Error(Code::kInvalidArgument, "a device name has {} bytes; {} are allowed", name.size(),
                 kSetNameSizeMax);
  }
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && c != '\\';
  });
  if (!printable) {
    return Error(Code::kInvalidArgument,
                 "a device name has a backslash or a control character in it");
  }
  return OkStatus();
}

Status CheckWishes(const DeviceSetConfig& wishes) {
  if (wishes.device_count < 1 || wishes.device_count > kDeviceCountMax) {
    return Error(Code::kUnimplemented, "{} devices are not supported; 1 to {} are",
                 wishes.device_count, kDeviceCountMax);
  }
  if (!IsSupportedKind(wishes.features)) {
    return Error(Code::kUnimplemented, "the combination of features {:#x} is not supported",
                 wishes.features)
        .WithHint("ask for a device like a pipe (0x0), a tape (0x173) or a disk (0x200)");
  }
  if (wishes.alignment != 0 &&
      (!std::has_single_bit(wishes.alignment) || wishes.alignment > kAlignmentMax)) {
    return Error(Code::kUnimplemented, "an alignment of {} is not supported", wishes.alignment);
  }
  if (wishes.prefix_zone_size > kPrefixZoneSizeMax) {
    return Error(Code::kUnimplemented, "a prefix zone of {} bytes is not supported; {} are at most",
                 wishes.prefix_zone_size, kPrefixZoneSizeMax);
  }
  if (wishes.soft_filemark_block_size != 0 && (wishes.features & feature::kFileMarks) == 0) {
    return Error(Code::kUnimplemented, "soft filemarks need a device with filemarks");
  }
  return OkStatus();
}

Status CheckBufferAlignment(std::uint32_t alignment) {
  if (alignment != 0 && (!std::has_single_bit(alignment) || alignment > kAlignmentMax)) {
    return Error(Code::kInvalidArgument, "alignment {} is not a power of two up to {}", alignment,
                 kAlignmentMax);
  }
  return OkStatus();
}

DeviceSetConfig CleanWishes(const DeviceSetConfig& wishes) {
  DeviceSetConfig clean = wishes;
  clean.block_size = 0;
  clean.max_io_depth = 0;
  clean.max_transfer_size = 0;
  clean.buffer_area_size = 0;
  return clean;
}

Result<DeviceSetConfig> MergeConfiguration(const DeviceSetConfig& wishes,
                                           const EngineConfiguration& engine) {
  constexpr std::uint32_t kDirection = feature::kWriteMedia | feature::kReadMedia;
  if ((engine.added_features & kDirection) == 0 ||
      (engine.added_features & ~(kDirection | feature::kCompleteEnabled)) != 0) {
    return Error(Code::kInvalidArgument, "the engine cannot add features {:#x}",
                 engine.added_features);
  }
  if ((engine.added_features & feature::kCompleteEnabled) != 0 &&
      (wishes.features & feature::kRequestComplete) == 0) {
    return Error(Code::kInvalidArgument, "the client has not asked for Complete");
  }
  if (!std::has_single_bit(engine.block_size) || engine.block_size < kBlockSizeMin ||
      engine.block_size > kBlockSizeMax) {
    return Error(Code::kInvalidArgument, "block size {} is not a power of two from {} to {}",
                 engine.block_size, kBlockSizeMin, kBlockSizeMax);
  }
  if (!std::has_single_bit(engine.alignment) || engine.alignment < engine.block_size ||
      engine.alignment > kAlignmentMax) {
    return Error(Code::kInvalidArgument,
                 "alignment {} is not a power of two from the block size {} to {}",
                 engine.alignment, engine.block_size, kAlignmentMax);
  }
  if (engine.max_transfer_size == 0 || engine.max_transfer_size % kTransferUnit != 0 ||
      engine.max_transfer_size > kTransferSizeMax) {
    return Error(Code::kInvalidArgument, "transfer size {} is not a multiple of {} up to {}",
                 engine.max_transfer_size, kTransferUnit, kTransferSizeMax);
  }
  DeviceSetConfig merged = CleanWishes(wishes);
  merged.features |= engine.added_features;
  merged.alignment = std::max(wishes.alignment, engine.alignment);
  merged.block_size = engine.block_size;
  merged.max_io_depth = kMaxIoDepth;
  merged.max_transfer_size = engine.max_transfer_size;
  return merged;
}

Status CheckDeviceNames(std::string_view set_name, std::uint32_t device_count,
                        std::span<const std::string> names) {
  if (names.size() != device_count) {
    return Error(Code::kInvalidArgument, "{} names were given for the {} devices of set '{}'",
                 names.size(), device_count, set_name);
  }
  if (names.front() != set_name) {
    return Error(Code::kInvalidArgument, "the first device is called '{}' and not as its set '{}'",
                 names.front(), set_name);
  }
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    CAPSTAN_RETURN_IF_ERROR(CheckName(name));
    if (!seen.insert(name).second) {
      return Error(Code::kInvalidArgument, "two devices of set '{}' are called '{}'", set_name,
                   name);
    }
  }
  return OkStatus();
}

}  // namespace capstan::vdi
