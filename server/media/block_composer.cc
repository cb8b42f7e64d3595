#include "server/media/block_composer.h"

#include <algorithm>
#include <string>

#include "server/media/family_writer.h"
#include "vdi/base/check.h"

namespace capstan::media {

TapeAddress VariablePart::AddString(std::string_view utf8) {
  if (utf8.empty()) {
    return {};
  }
  std::u16string text = ToUtf16(utf8);
  text.push_back(u'\0');
  return AddUtf16(text);
}

TapeAddress VariablePart::AddUtf16(std::u16string_view text) {
  return AddBytes(std::as_bytes(std::span(text)));
}

TapeAddress VariablePart::AddBytes(Bytes bytes) {
  // What does not fit 16 bits is far beyond any block; callers check end() against their limit.
  const TapeAddress address{.size = static_cast<std::uint16_t>(bytes.size()),
                            .offset = static_cast<std::uint16_t>(end())};
  AppendBytes(&bytes_, bytes);
  return address;
}

void VariablePart::AppendTo(ByteVector* out) const {
  out->resize(out->size() + start() - fixed_size_);
  AppendBytes(out, bytes_);
}

StreamHeader MakeStreamHeader(StreamType type, std::uint64_t length) {
  StreamHeader header{.type = type, .length = length};
  header.checksum = HeaderChecksum(header);
  return header;
}

void AppendStream(ByteVector* out, StreamType type, Bytes data) {
  out->resize(RoundUp(out->size(), 4));
  AppendBytes(out, AsBytes(MakeStreamHeader(type, data.size())));
  AppendBytes(out, data);
}

void AppendSealedStream(ByteVector* out, StreamType type, Bytes content, std::size_t covered_from) {
  out->resize(RoundUp(out->size(), 4));
  AppendBytes(out, AsBytes(MakeStreamHeader(type, content.size() + sizeof(StreamSeal))));
  AppendBytes(out, content);
  const std::uint64_t covered = out->size() + sizeof(covered) - covered_from;
  AppendBytes(out, AsBytes(covered));
  AppendBytes(out, AsBytes(Crc32c(0, Bytes(*out).subspan(covered_from))));
}

bool SealIsRight(Bytes covered) {
  if (covered.size() < sizeof(StreamSeal)) {
    return false;
  }
  const auto seal = LoadStruct<StreamSeal>(covered.last(sizeof(StreamSeal)));
  const Bytes before_crc = covered.first(covered.size() - sizeof(seal.crc32c));
  return seal.covered == before_crc.size() && seal.crc32c == Crc32c(0, before_crc);
}

void AppendPad(ByteVector* out, std::size_t unit) {
  out->resize(RoundUp(out->size(), 4));
  const std::size_t data = out->size() + sizeof(StreamHeader);
  const std::size_t end = RoundUp(data, unit);
  AppendBytes(out, AsBytes(MakeStreamHeader(StreamType::kPad, end - data)));
  out->resize(end);
}

void AppendFilemark(ByteVector* out, std::uint32_t number, std::uint32_t physical_block,
                    std::span<const std::uint32_t> previous, std::uint32_t size) {
  CAPSTAN_CHECK(out->size() % size == 0);
  const std::uint32_t capacity = FilemarkCapacity(size);
  const std::size_t used = std::min<std::size_t>(previous.size(), capacity);
  SoftFilemarkHeader mark{.capacity = capacity, .used = static_cast<std::uint32_t>(used)};
  mark.header.first_event_offset = static_cast<std::uint16_t>(size);
  mark.header.fla = physical_block;
  mark.header.control_block_id = number;
  mark.header.checksum = HeaderChecksum(mark.header);
  const std::size_t end = out->size() + size;
  AppendBytes(out, AsBytes(mark));
  for (std::size_t i = 0; i < used; ++i) {
    AppendBytes(out, AsBytes(previous[previous.size() - 1 - i]));
  }
  out->resize(end);
}

}  // namespace capstan::media
