#include "server/media/sqlserver/listing.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/media/block_fields.h"
#include "server/media/foreign_set.h"
#include "server/media/medium_error.h"
#include "server/media/sqlserver/config_records.h"
#include "server/media/sqlserver/container.h"
#include "server/media/sqlserver/filemark_index.h"
#include "server/media/sqlserver/set_ends.h"

namespace capstan::media::sqlserver {
namespace {

// The bytes of a set's beginning, as a medium that BlockCursor can walk: its blocks are counted
// from there.
class HeadSource final : public MediumSource {
 public:
  HeadSource(const std::string& device_name, Bytes bytes)
      : device_name_(device_name), bytes_(bytes) {}
  const std::string& device_name() const override { return device_name_; }
  std::uint64_t size_bytes() const override { return bytes_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    const std::size_t start = std::min<std::uint64_t>(offset, bytes_.size());
    const std::size_t size = std::min(target.size(), bytes_.size() - start);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(start), size, target.begin());
    return size;
  }

 private:
  const std::string& device_name_;
  const Bytes bytes_;
};

// What the rest of the server knows sets by.
void DescribeSet(const SetFacts& facts, BackupSet* set) {
  set->database_name = facts.database_name.value_or("");
  set->server_name = facts.server_name.value_or("");
  set->machine_name = facts.machine_name.value_or("");
  set->recovery_model = facts.recovery_model.value_or("");
  set->backup_set_guid = facts.backup_set_guid.value_or(Guid());
  set->has_checksums = facts.has_backup_checksums.value_or(false);
  set->is_damaged = facts.is_damaged.value_or(false);
  set->backup_size_bytes = facts.backup_size.value_or(0);
  set->compressed_size_bytes = facts.compressed_backup_size.value_or(0);
  if (facts.backup_type == 2) {
    set->kind = SetKind::kLog;
  }
}

// SSET and VOLB. False if they are not where they belong.
Result<bool> ReadFirstBlocks(Bytes head, const TapeBlock& tape, const std::string& device_name,
                             SetListing* listing) {
  HeadSource source(device_name, head);
  BlockCursor cursor(&source);
  cursor.UseGeometry(tape.format_logical_block, tape.soft_filemark_units * 512U);
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> set, cursor.NextBlock());
  if (!set || set->header.type != BlockType::kSet ||
      set->header.first_event_offset < sizeof(SetBlock)) {
    return false;
  }
  const Bytes set_block =
      head.first(std::min<std::size_t>(head.size(), set->header.first_event_offset));
  if (set_block.size() < sizeof(SetBlock)) {
    return false;
  }
  listing->set = ParseSet(set_block);
  listing->foreign = true;
  listing->foreign_set = ParseForeignSet(set_block);
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<StreamPosition> stream, cursor.NextStream());
    if (!stream) {
      break;
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> volume, cursor.NextBlock());
  if (!volume || volume->header.type != BlockType::kVolume ||
      volume->header.first_event_offset < sizeof(VolumeBlock) ||
      volume->offset + volume->header.first_event_offset > head.size()) {
    return false;
  }
  ParseForeignVolume(head.subspan(volume->offset, volume->header.first_event_offset),
                     &*listing->foreign_set);
  return true;
}

// Nothing if anything is not where a set that ended in good order has it.
Result<std::optional<SetListing>> ReadSet(MediumSource& source, const SetPlace& place,
                                          const TapeBlock& tape) {
  SetListing listing{.set_offset = place.begin};
  CAPSTAN_ASSIGN_OR_RETURN(const ByteVector head, ReadSetHead(source, place));
  CAPSTAN_ASSIGN_OR_RETURN(const bool begins,
                           ReadFirstBlocks(head, tape, source.device_name(), &listing));
  if (!begins || !listing.foreign_set->by_sql_server) {
    return std::optional<SetListing>();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<ByteVector> configuration,
                           ReadFinalConfiguration(source, place));
  CAPSTAN_ASSIGN_OR_RETURN(const bool has_trailer, HasTrailer(source, place));
  if (!configuration || !has_trailer ||
      !ParseConfiguration(*configuration, ConfigurationPlace::kEnd, &*listing.foreign_set)) {
    return std::optional<SetListing>();
  }
  DescribeSet(listing.foreign_set->facts, &listing.set);
  return std::optional(std::move(listing));
}

Result<std::optional<std::vector<SetListing>>> ReadSets(MediumSource& source, const TapeBlock& tape,
                                                        bool in_container) {
  const std::uint32_t mark_size = tape.soft_filemark_units * 512U;
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::vector<std::uint64_t>> marks,
                           ReadFilemarks(source, mark_size));
  if (!marks) {
    return std::optional<std::vector<SetListing>>();
  }
  std::vector<SetListing> sets;
  for (std::size_t i = 0; i + 2 < marks->size(); i += 2) {
    const SetPlace place{.begin = (*marks)[i] + mark_size,
                         .filemark = (*marks)[i + 1],
                         .trailer = (*marks)[i + 1] + mark_size,
                         .block_size = tape.format_logical_block,
                         .in_container = in_container};
    CAPSTAN_ASSIGN_OR_RETURN(std::optional<SetListing> set, ReadSet(source, place, tape));
    if (!set || set->set.position != sets.size() + 1) {
      return std::optional<std::vector<SetListing>>();
    }
    sets.push_back(*std::move(set));
  }
  return std::optional(std::move(sets));
}

// The TAPE block of a medium; nothing if it is not sound.
Result<std::optional<TapeBlock>> ReadTape(MediumSource& source) {
  ByteVector bytes(sizeof(TapeBlock));
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source.ReadAt(0, bytes));
  const auto tape = LoadStruct<TapeBlock>(bytes);
  const bool sound = filled == bytes.size() && tape.header.type == BlockType::kTape &&
                     HeaderIsSound(tape.header) && GeometryIsSound(tape);
  return sound ? std::optional(tape) : std::nullopt;
}

// By the filemarks; nothing if they do not lead everywhere.
Result<std::optional<MediumListing>> ListByFilemarks(MediumSource& source, bool in_container) {
  UnpackedSource unpacked(&source);
  MediumSource& medium = in_container ? static_cast<MediumSource&>(unpacked) : source;
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<TapeBlock> tape, ReadTape(medium));
  if (!tape || (tape->attributes & kTapeSoftFilemarks) == 0 || source.size_bytes() == 0) {
    return std::optional<MediumListing>();
  }
  MediumListing listing;
  CAPSTAN_ASSIGN_OR_RETURN(listing.header, ReadLabel(source));
  Result<std::optional<std::vector<SetListing>>> sets = ReadSets(source, *tape, in_container);
  if (!sets.ok() || !sets.value()) {
    return std::optional<MediumListing>();
  }
  listing.sets = **std::move(sets);
  return std::optional(std::move(listing));
}

Result<ByteVector> StreamContent(BlockCursor* cursor, const StreamPosition& stream,
                                 std::uint64_t size_max) {
  ByteVector content;
  const std::uint64_t length = stream.header.length;
  if (length > size_max) {
    return content;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, cursor->At(stream.data_offset, length));
  if (bytes.size() == length) {
    content.assign(bytes.begin(), bytes.end());
  }
  return content;
}

}  // namespace

bool BySqlServer(Bytes start) {
  if (IsContainer(start)) {
    return true;
  }
  if (start.size() < sizeof(TapeBlock)) {
    return false;
  }
  const auto tape = LoadStruct<TapeBlock>(start);
  return tape.header.type == BlockType::kTape && tape.software_vendor_id == kSqlServerVendorId;
}

Result<MediumListing> ListMedium(MediumSource& source, Bytes start,
                                 const std::function<Result<MediumListing>(MediumSource&)>& walk) {
  const bool in_container = IsContainer(start);
  std::optional<MediumListing> listing;
  if (source.size_bytes() != 0) {
    // If it fails, walking finds out why, and how much there is in spite of it.
    CAPSTAN_ASSIGN_OR_RETURN(listing, ListByFilemarks(source, in_container));
  }
  if (!listing) {
    UnpackedSource unpacked(&source);
    CAPSTAN_ASSIGN_OR_RETURN(listing,
                             walk(in_container ? static_cast<MediumSource&>(unpacked) : source));
  }
  listing->header.compressed = in_container;
  for (SetListing& set : listing->sets) {
    if (in_container && set.foreign_set) {
      set.foreign_set->facts.compressed = true;
      set.foreign_set->facts.compression_algorithm = "MS_XPRESS";
    }
  }
  return *std::move(listing);
}

Status AddTapeStream(BlockCursor* cursor, const StreamPosition& stream, MediaHeader* header) {
  if (stream.header.type != kRaid || header->software_vendor_id != kSqlServerVendorId) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const ByteVector content,
                           StreamContent(cursor, stream, sizeof(RaidStream)));
  if (!ParseRaid(content, header)) {
    return MediumDamaged(cursor->device_name(), stream.data_offset, "description of the media set");
  }
  return OkStatus();
}

Status AddStream(BlockCursor* cursor, const BlockHeader& block, const StreamPosition& stream,
                 SetListing* listing) {
  ForeignSet& set = *listing->foreign_set;
  if (!set.by_sql_server || stream.header.type != kConfiguration) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const ByteVector content,
                           StreamContent(cursor, stream, kConfigurationMax));
  const auto place =
      block.type == kConfigurationEnd ? ConfigurationPlace::kEnd : ConfigurationPlace::kStart;
  if (content.size() == stream.header.length && !ParseConfiguration(content, place, &set)) {
    return MediumDamaged(cursor->device_name(), stream.data_offset,
                         "configuration of the backup set");
  }
  DescribeSet(set.facts, &listing->set);
  return OkStatus();
}

bool IsComplete(const SetListing& listing) {
  return !listing.foreign_set || !listing.foreign_set->by_sql_server ||
         listing.foreign_set->final_known;
}

}  // namespace capstan::media::sqlserver
