#include "server/media/sqlserver/family_verifier.h"

#include <algorithm>
#include <utility>

#include "server/media/block_fields.h"
#include "server/media/foreign_set.h"
#include "server/media/media_password.h"
#include "server/media/peeked_source.h"
#include "server/media/sqlserver/config_records.h"
#include "server/media/sqlserver/filemark_index.h"
#include "server/messages/messages.h"

namespace capstan::media::sqlserver {
namespace {

constexpr std::uint64_t kReportEvery = 1 << 20;

bool IsPrintable(BlockType type) {
  const auto letters = static_cast<std::uint32_t>(type);
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t letter = letters >> (8 * i) & 0xFF;
    if (letter < 0x20 || letter > 0x7E) {
      return false;
    }
  }
  return true;
}

// What both configurations of a set say, the one from before its data and the one from behind them.
bool SameDatabase(const ForeignSet& start, const ForeignSet& end) {
  const SetFacts& a = start.facts;
  const SetFacts& b = end.facts;
  if (a.database_name != b.database_name || a.server_name != b.server_name ||
      a.database_version != b.database_version || a.backup_type != b.backup_type ||
      a.database_creation_date != b.database_creation_date || a.start_date != b.start_date ||
      a.binding_id != b.binding_id || a.family_guid != b.family_guid ||
      a.recovery_fork_id != b.recovery_fork_id || a.software_build != b.software_build ||
      a.software_major != b.software_major || a.collation != b.collation ||
      a.compatibility_level != b.compatibility_level || start.files.size() != end.files.size()) {
    return false;
  }
  return std::equal(start.files.begin(), start.files.end(), end.files.begin(),
                    [](const FileFacts& x, const FileFacts& y) {
                      return x.logical_name == y.logical_name &&
                             x.physical_name == y.physical_name && x.file_id == y.file_id &&
                             x.type == y.type && x.unique_id == y.unique_id &&
                             x.filegroup_name == y.filegroup_name;
                    });
}

}  // namespace

Result<FamilyFindings> FamilyVerifier::Run() {
  findings_.device_name = reader_.device_name();
  CAPSTAN_RETURN_IF_ERROR(CheckTape());
  CAPSTAN_RETURN_IF_ERROR(CheckMediaPassword(findings_.header, options_.media_password));
  CAPSTAN_ASSIGN_OR_RETURN(const Block mark,
                           ExpectBlock(BlockType::kSoftFilemark, "filemark behind the TAPE block"));
  CAPSTAN_RETURN_IF_ERROR(CheckFilemark(mark));
  for (position_ = 1; position_ <= options_.position && position_ != 0; ++position_) {
    CAPSTAN_RETURN_IF_ERROR(CheckSet(position_));
  }
  return std::move(findings_);
}

Result<std::optional<FamilyVerifier::Block>> FamilyVerifier::NextBlock() {
  Block block{.offset = reader_.offset()};
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes head, reader_.TakeUpTo(sizeof(BlockHeader)));
  if (head.empty()) {
    return std::optional<Block>();
  }
  block.place = reader_.PlaceOf(head);
  if (head.size() < sizeof(BlockHeader)) {
    return CutOffInSet(reader_.device_name(), reader_.place());
  }
  block.header = LoadStruct<BlockHeader>(head);
  block.bytes.assign(head.begin(), head.end());
  if (!IsPrintable(block.header.type) || !HeaderIsSound(block.header)) {
    return MediumDamaged(reader_.device_name(), block.place, "block header");
  }
  const std::size_t size = block.header.first_event_offset;
  if (size < sizeof(BlockHeader)) {
    return MediumDamaged(reader_.device_name(), block.place, "block size");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes rest, reader_.Take(size - sizeof(BlockHeader)));
  AppendBytes(&block.bytes, rest);
  return std::optional(std::move(block));
}

Result<FamilyVerifier::Block> FamilyVerifier::ExpectBlock(BlockType type, std::string_view what) {
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<Block> block, NextBlock());
  if (!block) {
    return CutOffInSet(reader_.device_name(), reader_.place());
  }
  if (block->header.type != type) {
    return MediumDamaged(reader_.device_name(), block->place, what);
  }
  return *std::move(block);
}

Status FamilyVerifier::CheckFilemark(const Block& mark) {
  const bool soft = (tape_.attributes & kTapeSoftFilemarks) != 0;
  const auto damaged = [&] {
    return MediumDamaged(reader_.device_name(), mark.place, "filemark and what it lists");
  };
  if (soft) {
    if (mark.bytes.size() != tape_.soft_filemark_units * 512U) {
      return damaged();
    }
    const std::optional<FilemarkEntries> entries = ParseFilemark(mark.bytes);
    if (!entries || entries->offsets.size() > marks_.size() ||
        (entries->offsets.size() < marks_.size() && !entries->full) ||
        !std::equal(entries->offsets.begin(), entries->offsets.end(), marks_.rbegin()) ||
        !entries->exact) {
      return damaged();
    }
  }
  marks_.push_back(mark.place);
  origin_ = reader_.offset();
  return OkStatus();
}

Status FamilyVerifier::CheckTape() {
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<Block> block, NextBlock());
  if (!block) {
    return SqlError(3254, reader_.device_name());
  }
  if (block->header.type != BlockType::kTape || block->bytes.size() < sizeof(TapeBlock)) {
    return reader_.Damaged("TAPE block");
  }
  tape_ = LoadStruct<TapeBlock>(block->bytes);
  if (tape_.mtf_major != kMtfMajor) {
    return SqlError(3243, reader_.device_name(), tape_.mtf_major, 0, kMtfMajor, kMtfMinor);
  }
  if (!GeometryIsSound(tape_)) {
    return reader_.Damaged("sizes in the TAPE block");
  }
  findings_.header = ParseTape(block->bytes);
  findings_.header.compressed = reader_.in_container();
  CAPSTAN_RETURN_IF_ERROR(CheckStreams(*block));
  if (has_raid_ != (tape_.software_vendor_id == kSqlServerVendorId)) {
    return MediumDamaged(reader_.device_name(), block->place, "description of the media set");
  }
  return OkStatus();
}

Status FamilyVerifier::CheckSet(std::uint16_t position) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<Block> block, NextBlock());
  if (!block) {
    return SqlError(3287, options_.position, reader_.device_name());
  }
  if (block->header.type != BlockType::kSet || block->bytes.size() < sizeof(SetBlock)) {
    return MediumDamaged(reader_.device_name(), block->place, "beginning of a backup set");
  }
  if (LoadStruct<SetBlock>(block->bytes).software_vendor_id != kSqlServerVendorId) {
    return Wanted() ? SqlError(3143, reader_.device_name()) : PassForeignSet(*block);
  }
  CAPSTAN_RETURN_IF_ERROR(CheckSetBlock(*block, position));
  CAPSTAN_RETURN_IF_ERROR(CheckBody());
  return CheckTrailer();
}

Status FamilyVerifier::CheckSetBlock(const Block& block, std::uint16_t position) {
  const auto fixed = LoadStruct<SetBlock>(block.bytes);
  const bool soft = (tape_.attributes & kTapeSoftFilemarks) != 0;
  if (fixed.set_number != position || (soft && fixed.pba != block.place)) {
    return MediumDamaged(reader_.device_name(), block.place, "number or place of the backup set");
  }
  set_block_ = block;
  next_block_id_ = 0;
  configurations_ = 0;
  extents_.reset();
  findings_.pages = 0;
  findings_.set = ParseSet(block.bytes);
  start_ = ParseForeignSet(block.bytes);
  end_ = start_;
  if (Wanted() && start_.password_protected) {
    return SqlError(3279);
  }
  return OkStatus();
}

Status FamilyVerifier::CheckPlace(const Block& block) {
  const std::uint64_t fla = (block.offset - set_block_.offset) / tape_.format_logical_block;
  if (block.header.fla != fla || block.header.control_block_id != next_block_id_) {
    return MediumDamaged(reader_.device_name(), block.place, "number of the block");
  }
  ++next_block_id_;
  return OkStatus();
}

Status FamilyVerifier::CheckBody() {
  CAPSTAN_RETURN_IF_ERROR(CheckPlace(set_block_));
  CAPSTAN_RETURN_IF_ERROR(CheckStreams(set_block_));
  CAPSTAN_ASSIGN_OR_RETURN(volume_block_, ExpectBlock(BlockType::kVolume, "VOLB block"));
  if (volume_block_.bytes.size() < sizeof(VolumeBlock)) {
    return MediumDamaged(reader_.device_name(), volume_block_.place, "VOLB block");
  }
  CAPSTAN_RETURN_IF_ERROR(CheckPlace(volume_block_));
  CAPSTAN_RETURN_IF_ERROR(CheckStreams(volume_block_));
  ParseForeignVolume(volume_block_.bytes, &end_);
  CAPSTAN_ASSIGN_OR_RETURN(Block block, ExpectBlock(kConfigurationStart, "MSCI block"));
  while (true) {
    CAPSTAN_RETURN_IF_ERROR(CheckPlace(block));
    CAPSTAN_RETURN_IF_ERROR(CheckStreams(block));
    if (block.header.type == kConfigurationEnd) {
      break;
    }
    CAPSTAN_ASSIGN_OR_RETURN(std::optional<Block> next, NextBlock());
    if (!next || next->header.type == BlockType::kSoftFilemark) {
      return CutOffInSet(reader_.device_name(), reader_.place());
    }
    block = *std::move(next);
    if (block.header.type == BlockType::kTape || block.header.type == BlockType::kSet ||
        block.header.type == BlockType::kEndOfSet) {
      return MediumDamaged(reader_.device_name(), block.place, "order of the blocks");
    }
  }
  findings_.data_size = block.offset;
  findings_.mark_size =
      (tape_.attributes & kTapeSoftFilemarks) != 0 ? tape_.soft_filemark_units * 512U : 0;
  if (configurations_ != 2 || !SameDatabase(start_, end_)) {
    return MediumDamaged(reader_.device_name(), block.place, "configuration of the backup set");
  }
  findings_.facts = end_;
  if (extents_) {
    findings_.pages = extents_->pages();
  }
  return OkStatus();
}

Status FamilyVerifier::CheckTrailer() {
  CAPSTAN_ASSIGN_OR_RETURN(Block mark,
                           ExpectBlock(BlockType::kSoftFilemark, "filemark behind the data"));
  CAPSTAN_RETURN_IF_ERROR(CheckFilemark(mark));
  CAPSTAN_ASSIGN_OR_RETURN(const Block first, ExpectBlock(BlockType::kEndOfSet, "ESET block"));
  first_end_place_ = first.place;
  CAPSTAN_RETURN_IF_ERROR(CheckSetEnd(first));
  CAPSTAN_ASSIGN_OR_RETURN(const Block second,
                           ExpectBlock(BlockType::kEndOfSet, "second ESET block"));
  CAPSTAN_RETURN_IF_ERROR(CheckSetEnd(second));
  const auto fixed = LoadStruct<EndOfSetBlock>(second.bytes);
  if ((tape_.attributes & kTapeSoftFilemarks) != 0 && fixed.first_pba != first_end_place_) {
    return MediumDamaged(reader_.device_name(), second.place, "place of the ESET block");
  }
  CAPSTAN_ASSIGN_OR_RETURN(mark, ExpectBlock(BlockType::kSoftFilemark, "last filemark of the set"));
  return CheckFilemark(mark);
}

Status FamilyVerifier::CheckSetEnd(const Block& block) {
  if (block.bytes.size() < sizeof(EndOfSetBlock)) {
    return MediumDamaged(reader_.device_name(), block.place, "ESET block");
  }
  const auto fixed = LoadStruct<EndOfSetBlock>(block.bytes);
  const auto set = LoadStruct<SetBlock>(set_block_.bytes);
  if (fixed.attributes != set.attributes || fixed.set_number != set.set_number ||
      fixed.date.bytes != set.date.bytes) {
    return MediumDamaged(reader_.device_name(), block.place, "ESET block");
  }
  return CheckStreams(block);
}

Status FamilyVerifier::PassForeignSet(const Block& first) {
  CAPSTAN_RETURN_IF_ERROR(CheckStreams(first));
  for (int marks = 0; marks < 2;) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<Block> block, NextBlock());
    if (!block) {
      return CutOffInSet(reader_.device_name(), reader_.place());
    }
    if (block->header.type == BlockType::kSoftFilemark) {
      marks_.push_back(block->place);
      origin_ = reader_.offset();
      ++marks;
    } else {
      CAPSTAN_RETURN_IF_ERROR(CheckStreams(*block));
    }
  }
  return OkStatus();
}

Status FamilyVerifier::CheckConfiguration(const Block& block, Bytes content) {
  const bool is_end = block.header.type == kConfigurationEnd;
  ForeignSet& set = is_end ? end_ : start_;
  const auto place = is_end ? ConfigurationPlace::kEnd : ConfigurationPlace::kStart;
  if (!ParseConfiguration(content, place, &set)) {
    return MediumDamaged(reader_.device_name(), block.place, "configuration of the backup set");
  }
  ++configurations_;
  if (!is_end) {
    extents_.emplace(start_.files);
  }
  return OkStatus();
}

Status FamilyVerifier::Report() {
  if (options_.on_progress && reader_.place() >= reported_ + kReportEvery) {
    reported_ = reader_.place();
    return options_.on_progress(reported_);
  }
  return OkStatus();
}

Result<FamilyFindings> VerifyFamily(MediumSource& source, const VerifyOptions& options) {
  PeekedSource peeked(&source);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes start, peeked.Peek());
  const bool in_container = IsContainer(start);
  if (!in_container && !start.empty() &&
      (start.size() < sizeof(BlockHeader) || LoadStruct<BlockType>(start) != BlockType::kTape ||
       !HeaderIsSound(LoadStruct<BlockHeader>(start)))) {
    return NotTapeFormat(source.device_name(), start);
  }
  return FamilyVerifier(&peeked, in_container, options).Run();
}

}  // namespace capstan::media::sqlserver
