// FamilyVerifier: the walk behind VerifyFamily. Blocks in the order in which SQL Server writes
// them, each checked as far as its bytes allow. Internal to server/media. Threads: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "server/media/sqlserver/forward_reader.h"
#include "server/media/sqlserver/page_data.h"
#include "server/media/sqlserver/verifier.h"

namespace capstan::media::sqlserver {

class FamilyVerifier {
 public:
  // Both must outlive the verifier.
  FamilyVerifier(MediumSource* source, bool in_container, const VerifyOptions& options)
      : reader_(source, in_container), options_(options) {}

  Result<FamilyFindings> Run();

 private:
  struct Block {
    BlockHeader header;
    ByteVector bytes;
    std::uint64_t offset = 0;  // in the medium
    std::uint64_t place = 0;   // in the file
  };

  // Nothing where the medium ends.
  Result<std::optional<Block>> NextBlock();
  // 3256 where the medium ends; damage if another type of block stands there.
  Result<Block> ExpectBlock(BlockType type, std::string_view what);
  Status CheckFilemark(const Block& mark);

  Status CheckTape();
  Status CheckSet(std::uint16_t position);
  Status CheckSetBlock(const Block& block, std::uint16_t position);
  Status CheckBody();
  // Of a block of the set's body: counts it, and compares what the header says of its place.
  Status CheckPlace(const Block& block);
  Status CheckTrailer();
  Status CheckSetEnd(const Block& block);
  // Another program's set: past it, by its filemarks.
  Status PassForeignSet(const Block& first);

  Status CheckStreams(const Block& block);
  Status CheckStream(const Block& block, const StreamHeader& stream);
  Status CheckPad(std::uint64_t length);
  Status CheckSetMap(const StreamHeader& stream);
  Status CheckData(const StreamHeader& stream);
  Status CheckSum(const StreamHeader& stream);
  Status CheckConfiguration(const Block& block, Bytes content);
  Result<ByteVector> Collect(std::uint64_t length, std::uint64_t length_max);
  Status TakeZeros(std::uint64_t length, std::string_view what);
  Status Pass(std::uint64_t length);
  Status Report();
  bool Wanted() const { return position_ == options_.position; }

  ForwardReader reader_;
  const VerifyOptions& options_;
  std::uint64_t reported_ = 0;

  // Of the medium.
  TapeBlock tape_;
  bool has_raid_ = false;
  std::uint64_t origin_ = 0;  // of the block grid: behind the last filemark
  std::vector<std::uint64_t> marks_;

  // Of the set.
  std::uint16_t position_ = 0;
  Block set_block_;
  Block volume_block_;
  std::uint32_t next_block_id_ = 0;
  std::uint64_t first_end_place_ = 0;  // of its first ESET
  int configurations_ = 0;
  ForeignSet start_, end_;
  std::optional<ExtentCheck> extents_;
  FamilyFindings findings_;

  // Of a block of data.
  std::uint32_t lead_left_ = 0;
  bool sum_expected_ = false;
  SectorSum sum_;
};

}  // namespace capstan::media::sqlserver
