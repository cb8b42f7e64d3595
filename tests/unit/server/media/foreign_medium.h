// Media as another MTF writer makes them, to the letter of MTF 1.00a: blocks of 512 or 1024 bytes,
// soft filemarks of 512 bytes and more whose addresses count blocks of that size (or bytes), type 1
// set maps if wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "server/media/block_composer.h"
#include "server/media/filemark_trail.h"

namespace capstan::media {

struct ForeignForm {
  std::uint16_t format_logical_block = 1024;
  std::uint16_t soft_filemark_units = 1;
  bool strings = true;
  bool set_map = false;
  bool bytes_as_addresses = false;
  std::uint16_t sets = 1;
  std::uint16_t volumes = 1;  // of each set, in the set map
  std::size_t file_size = 5001;
  std::uint16_t protected_set = 0;  // this one has a password
};

inline std::string Describe(const ForeignForm& form) {
  return fmt::format("blocks of {}, filemarks of {}, strings {}, set map {}, bytes {}",
                     form.format_logical_block, form.soft_filemark_units * 512, form.strings,
                     form.set_map, form.bytes_as_addresses);
}

class ForeignMediumBuilder {
 public:
  explicit ForeignMediumBuilder(const ForeignForm& form)
      : form_(form),
        marks_({.soft_filemark_units = form.soft_filemark_units,
                .format_logical_block = form.format_logical_block,
                .address_unit = form.bytes_as_addresses ? 1U : form.soft_filemark_units * 512U}) {}

  ByteVector Build() {
    AddTape();
    AddMark();
    for (std::uint16_t number = 1; number <= form_.sets; ++number) {
      AddSet(number);
    }
    return std::move(out_);
  }

 private:
  static constexpr std::int64_t kDate = 1'100'000'000;

  std::uint32_t physical() const { return form_.soft_filemark_units * 512U; }
  std::uint64_t Address(std::uint64_t offset) const { return offset / marks_.form().address_unit; }
  TapeAddress Text(VariablePart* part, std::string_view text) const {
    return form_.strings ? part->AddString(text) : TapeAddress();
  }
  std::uint8_t string_type() const { return form_.strings ? kStringUtf16 : std::uint8_t{0}; }

  void AddMark() { marks_.Append(&out_, out_.size()); }

  // Appends a part whose alignment counts from here.
  void AddPart(ByteVector part) { AppendBytes(&out_, part); }

  void AddTape() {
    TapeBlock tape{.media_family_id = 0x00C0FFEE,
                   .attributes = kTapeSoftFilemarks,
                   .media_sequence_number = 1,
                   .soft_filemark_units = form_.soft_filemark_units,
                   .catalog_type = form_.set_map ? kCatalogType1 : std::uint16_t{0},
                   .format_logical_block = form_.format_logical_block,
                   .software_vendor_id = 0x0CBE,
                   .date = PackDate(kDate, 0),
                   .mtf_major = 1};
    tape.header.attributes = form_.set_map ? kTapeHasSetMap : 0;
    tape.header.string_type = string_type();
    VariablePart strings(sizeof(tape));
    tape.name = Text(&strings, "Foreign");
    tape.software_name = Text(&strings, "Other Backup");
    ByteVector part;
    AppendBlock(&part, tape, strings);
    AppendPad(&part, std::max<std::uint32_t>(physical(), form_.format_logical_block));
    AddPart(std::move(part));
  }

  template <typename Block>
  void AddBlock(ByteVector* part, Block block, const VariablePart& strings) {
    block.header.fla = part->size() / form_.format_logical_block;
    block.header.control_block_id = next_id_++;
    AppendBlock(part, block, strings);
  }

  void AddSet(std::uint16_t number) {
    const std::uint64_t set_offset = out_.size();
    const std::uint32_t flb = form_.format_logical_block;
    next_id_ = 0;
    ByteVector part;
    SetBlock set{.attributes = kSetNormal,
                 .software_vendor_id = 0x0CBE,
                 .set_number = number,
                 .pba = Address(set_offset),
                 .date = PackDate(kDate, 0),
                 .software_major = 5,
                 .time_zone = 0,
                 .catalog_version = form_.set_map ? kCatalogType1Version : std::uint8_t{0}};
    set.header.string_type = string_type();
    VariablePart set_strings(sizeof(set));
    set.name = Text(&set_strings, fmt::format("Foreign set {}", number));
    if (number == form_.protected_set) {
      set.password_algorithm = 5;
      set.password = set_strings.AddBytes(ByteVector(16, std::byte{0x77}));
    }
    AddBlock(&part, set, set_strings);
    AppendPad(&part, flb);
    VolumeBlock volume{.attributes = kVolumeIsDriveLetter, .date = PackDate(kDate, 0)};
    volume.header.string_type = string_type();
    VariablePart volume_strings(sizeof(volume));
    volume.device_name = Text(&volume_strings, "C:");
    volume.machine_name = Text(&volume_strings, "OLDBOX");
    AddBlock(&part, volume, volume_strings);
    AppendPad(&part, flb);
    DirectoryBlock directory{.directory_id = 1};
    directory.header.string_type = kStringUtf16;
    VariablePart path(sizeof(directory));
    directory.path = path.AddUtf16(std::u16string(1, u'\0'));
    AddBlock(&part, directory, path);
    AppendPad(&part, flb);
    FileBlock file{.directory_id = 1, .file_id = 1};
    file.header.displayable_size = form_.file_size;
    file.header.string_type = kStringUtf16;
    VariablePart name(sizeof(file));
    file.name = name.AddString("letter.txt");
    AddBlock(&part, file, name);
    AppendStream(&part, StreamType::kStandard, ByteVector(form_.file_size, std::byte{0x61}));
    AppendPad(&part, std::max(physical(), flb));
    AddPart(std::move(part));
    AddMark();
    AddEnd(set, number);
  }

  void AddEnd(const SetBlock& set, std::uint16_t number) {
    const std::uint64_t end_offset = out_.size();
    const std::uint32_t unit = std::max<std::uint32_t>(physical(), form_.format_logical_block);
    EndOfSetBlock end{.attributes = kSetNormal, .set_number = number};
    end.header.control_block_id = next_id_++;
    ByteVector part;
    AppendBlock(&part, end, VariablePart(sizeof(end)));
    if (!form_.set_map) {
      AppendPad(&part, unit);
      AddPart(std::move(part));
      AddMark();
      return;
    }
    const std::size_t map_offset = AddSetMap(&part, set, number);
    AppendPad(&part, unit);
    end.header.control_block_id = next_id_++;
    end.set_map_pba = Address(end_offset + map_offset);
    AppendBlock(&part, end, VariablePart(sizeof(end)));
    AppendPad(&part, unit);
    AddPart(std::move(part));
    AddMark();
  }

  // TSMP on a physical block, behind a stream that fills up to there.
  std::size_t AddSetMap(ByteVector* part, const SetBlock& set, std::uint16_t number) {
    const std::size_t filler = part->size() + sizeof(StreamHeader);
    AppendStream(part, static_cast<StreamType>(FourCc("OTCP")),
                 ByteVector(RoundUp(filler, physical()) - filler));
    const std::size_t offset = part->size();
    SetMapEntry entry{.media_sequence_number = 1,
                      .set_attributes = kSetNormal,
                      .set_pba = set.pba,
                      .set_number = number,
                      .directory_count = 1,
                      .file_count = 1,
                      .displayable_size = form_.file_size,
                      .volume_count = form_.volumes,
                      .date = set.date,
                      .time_zone = set.time_zone,
                      .string_type = string_type(),
                      .catalog_version = set.catalog_version};
    VariablePart strings(sizeof(entry));
    entry.name = Text(&strings, fmt::format("Foreign set {}", number));
    entry.length = static_cast<std::uint16_t>(strings.end());
    SetMapVolume volume{.media_sequence_number = 1,
                        .fla = 1,
                        .string_type = string_type(),
                        .attributes = kVolumeIsDriveLetter,
                        .date = set.date};
    VariablePart volume_strings(sizeof(volume));
    volume.device_name = Text(&volume_strings, "C:");
    volume.machine_name = Text(&volume_strings, "OLDBOX");
    volume.length = static_cast<std::uint16_t>(volume_strings.end());
    AppendBytes(&map_, AsBytes(entry));
    strings.AppendTo(&map_);
    for (std::uint16_t i = 0; i < form_.volumes; ++i) {
      AppendBytes(&map_, AsBytes(volume));
      volume_strings.AppendTo(&map_);
    }
    ByteVector content;
    AppendBytes(&content,
                AsBytes(SetMapHeader{.media_family_id = 0x00C0FFEE, .set_count = number}));
    AppendBytes(&content, map_);
    AppendStream(part, StreamType::kSetMap, content);
    return offset;
  }

  const ForeignForm form_;
  FilemarkTrail marks_;
  ByteVector out_;
  ByteVector map_;
  std::uint32_t next_id_ = 0;
};

}  // namespace capstan::media
