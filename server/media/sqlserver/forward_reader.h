// ForwardReader: takes a medium, or the medium inside a container, byte by byte in order, and knows
// where in the file each thing stands.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>

#include "server/media/medium_error.h"
#include "server/media/sqlserver/container.h"

namespace capstan::media::sqlserver {

class ForwardReader {
 public:
  static constexpr std::size_t kTakeMax = 256 << 10;

  // `source` must outlive the reader.
  ForwardReader(MediumSource* source, bool in_container)
      : source_(source), unpacked_(source), in_container_(in_container) {}

  // The next `size` bytes, valid until the next call; 3256 if the medium ends before.
  // REQUIRES: size <= kTakeMax.
  Result<Bytes> Take(std::size_t size) {
    CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, TakeUpTo(size));
    if (bytes.size() < size) {
      return CutOffInSet(source_->device_name(), place());
    }
    return bytes;
  }
  // The same, or what is left.
  Result<Bytes> TakeUpTo(std::size_t size) {
    buffer_.resize(size);
    MediumSource& medium = in_container_ ? static_cast<MediumSource&>(unpacked_) : *source_;
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, medium.ReadAt(offset_, buffer_));
    offset_ += filled;
    return Bytes(buffer_).first(filled);
  }
  // Leaves bytes out; that they are there is seen when the next ones are taken.
  void Skip(std::uint64_t size) { offset_ += size; }

  // Of the next byte: in the medium, and in the file that it is kept in.
  std::uint64_t offset() const { return offset_; }
  std::uint64_t place() const { return in_container_ ? unpacked_.place() : offset_; }
  // Of bytes just taken from their first on, which lie in one record if this is a container.
  std::uint64_t PlaceOf(Bytes taken) const { return place() - (in_container_ ? 0 : taken.size()); }

  bool in_container() const { return in_container_; }
  const std::string& device_name() const { return source_->device_name(); }
  // 3241 with the place of the next byte and `what` in its hint.
  Status Damaged(std::string_view what) const {
    return MediumDamaged(device_name(), place(), what);
  }

 private:
  MediumSource* const source_;
  UnpackedSource unpacked_;
  const bool in_container_;
  std::uint64_t offset_ = 0;
  ByteVector buffer_;
};

}  // namespace capstan::media::sqlserver
