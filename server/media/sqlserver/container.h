// The compressed container that SQL Server writes WITH COMPRESSION: not Microsoft Tape Format on
// the outside, but a header and a run of records, whose decompressed contents are the medium,
// between soft filemarks, which stand as they are.
//
// Untrusted input: a record is at most 64 KiB either way, and its checksum is compared before it is
// decompressed. Internal to server/media. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "server/media/block_composer.h"
#include "server/media/family_reader.h"
#include "server/media/sqlserver/sqlserver_layout.h"

namespace capstan::media::sqlserver {

// Whether `start`, the first bytes of a medium, begin a container.
bool IsContainer(Bytes start);

// Of the payload of a record: for each of its 32-bit words in order, rotate left by one and XOR;
// the last word is filled up with zeros.
std::uint32_t RecordChecksum(Bytes payload);

struct ContainerPiece {
  enum class Kind { kBytes, kFilemark, kEnd };
  Kind kind = Kind::kEnd;
  std::uint64_t offset = 0;  // in the container, of the record or filemark
  Bytes bytes;               // of the medium; valid until the next call
};

// Walks the records from one on.
class RecordReader {
 public:
  // `source` must outlive the reader.
  RecordReader(MediumSource* source, std::uint64_t offset) : source_(source), offset_(offset) {}

  Result<ContainerPiece> Next();
  std::uint64_t offset() const { return offset_; }  // of what comes next

 private:
  Result<ContainerPiece> TakeCompressed(const ContainerRecord& record);
  Result<ContainerPiece> TakeFilemark();
  Status SkipIndex();
  // The first `size` bytes at offset_, of which raw_ holds some already: none is read twice.
  Result<Bytes> Take(std::size_t size);

  MediumSource* const source_;
  std::uint64_t offset_;
  ByteVector raw_, unpacked_;
};

// A container as the medium that is in it. Forward-only: what is left out is decompressed all the
// same. Offsets are those of the medium, not of the container.
class UnpackedSource final : public MediumSource {
 public:
  explicit UnpackedSource(MediumSource* container)
      : container_(container), reader_(container, kFirstRecord) {}

  const std::string& device_name() const override { return container_->device_name(); }
  std::uint64_t size_bytes() const override { return 0; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override;

  // In the container, of the record or filemark that the last bytes came from.
  std::uint64_t place() const { return place_; }

 private:
  MediumSource* const container_;
  RecordReader reader_;
  Bytes held_;  // what reader_ gave last
  std::uint64_t held_offset_ = 0;
  std::uint64_t place_ = kFirstRecord;
  bool ended_ = false;
};

}  // namespace capstan::media::sqlserver
