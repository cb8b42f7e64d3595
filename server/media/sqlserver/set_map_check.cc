#include "server/media/sqlserver/set_map_check.h"

#include <algorithm>

#include "server/media/mtf_layout.h"

namespace capstan::media::sqlserver {
namespace {

// The bytes at `address` of `owner`; empty if there are none.
Bytes At(Bytes owner, TapeAddress address) {
  return std::size_t{address.offset} + address.size > owner.size()
             ? Bytes()
             : owner.subspan(address.offset, address.size);
}

bool Same(Bytes a, Bytes b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// Cuts off the next entry of type T, strings included.
template <typename T>
bool TakeEntry(Bytes* content, T* entry, Bytes* bytes) {
  if (content->size() < sizeof(T)) {
    return false;
  }
  *entry = LoadStruct<T>(*content);
  if (entry->length < sizeof(T) || entry->length > content->size()) {
    return false;
  }
  *bytes = content->first(entry->length);
  *content = content->subspan(entry->length);
  return true;
}

bool EntryAgrees(const SetMapEntry& entry, Bytes bytes, const ExpectedSet& expected) {
  const auto set = LoadStruct<SetBlock>(expected.set_block);
  return entry.media_sequence_number == expected.media_sequence_number &&
         entry.block_attributes == set.header.attributes &&
         entry.set_attributes == set.attributes && entry.set_pba == set.pba &&
         entry.set_number == set.set_number && entry.date.bytes == set.date.bytes &&
         entry.time_zone == set.time_zone && entry.mtf_minor == set.mtf_minor &&
         entry.catalog_version == set.catalog_version &&
         entry.displayable_size == expected.displayable_size &&
         entry.password_algorithm == set.password_algorithm &&
         Same(At(bytes, entry.name), At(expected.set_block, set.name)) &&
         Same(At(bytes, entry.password), At(expected.set_block, set.password)) &&
         Same(At(bytes, entry.description), At(expected.set_block, set.description)) &&
         Same(At(bytes, entry.user_name), At(expected.set_block, set.user_name));
}

bool VolumeAgrees(const SetMapVolume& entry, Bytes bytes, const ExpectedSet& expected) {
  const auto volume = LoadStruct<VolumeBlock>(expected.volume_block);
  return entry.type == BlockType::kVolume && entry.attributes == volume.attributes &&
         entry.date.bytes == volume.date.bytes &&
         Same(At(bytes, entry.device_name), At(expected.volume_block, volume.device_name)) &&
         Same(At(bytes, entry.volume_name), At(expected.volume_block, volume.volume_name)) &&
         Same(At(bytes, entry.machine_name), At(expected.volume_block, volume.machine_name));
}

}  // namespace

bool SetMapAgrees(Bytes content, const ExpectedSet& expected) {
  if (content.size() < sizeof(SetMapHeader)) {
    return false;
  }
  const auto header = LoadStruct<SetMapHeader>(content);
  content = content.subspan(sizeof(header));
  if (header.media_family_id != expected.media_family_id || header.set_count != expected.position) {
    return false;
  }
  for (std::uint16_t i = 1; i <= header.set_count; ++i) {
    SetMapEntry entry;
    Bytes bytes;
    if (!TakeEntry(&content, &entry, &bytes)) {
      return false;
    }
    const bool is_last = i == header.set_count;
    if (is_last && !EntryAgrees(entry, bytes, expected)) {
      return false;
    }
    for (std::uint16_t n = 0; n < entry.volume_count; ++n) {
      SetMapVolume volume;
      if (!TakeEntry(&content, &volume, &bytes) ||
          (is_last && n == 0 && !VolumeAgrees(volume, bytes, expected))) {
        return false;
      }
    }
  }
  return content.empty();
}

}  // namespace capstan::media::sqlserver
