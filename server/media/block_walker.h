// BlockWalker: cuts a medium, which arrives in pieces of any size, into blocks, streams, filemarks
// and frames, and hands them to a BlockSink in order.
//
// It knows the grammar (what follows what on which boundary) and the checksums of headers; the sink
// knows the meaning. Bytes are handed out where they arrived if they lie together there; otherwise
// they are put together in a buffer that is never larger than the largest unit: a frame, a filemark
// or a block. A length that the medium states is compared with a limit before it is used.
// Where the sink puts up with damage, the walker looks on in steps of a physical block for
// something that the sink recognises. Internal to server/media. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/media/block_composer.h"
#include "server/media/mtf_values.h"
#include "vdi/base/status.h"

namespace capstan::media {

// What is to be done with a stream's data.
enum class StreamUse {
  kSkip,     // nothing
  kZeros,    // it must be zeros
  kCollect,  // handed over whole: OnStreamData once
  kRecords,  // handed over in whole records, as many at a time as there are
};

// Records of one size that follow one another.
struct RecordRun {
  std::size_t record_size = 0;
  std::uint64_t size_bytes = 0;  // of all of them, not 0
};

class BlockSink {
 public:
  virtual ~BlockSink() = default;
  // `block` reaches up to the first event; a filemark is handed over whole.
  virtual Status OnBlock(const BlockHeader& header, Bytes block) = 0;
  virtual Result<StreamUse> OnStream(const StreamHeader& header) = 0;
  virtual Status OnStreamData(const StreamHeader& header, Bytes data) = 0;
  virtual RecordRun next_records() const = 0;  // of a kRecords stream
  virtual Status OnFrame(Bytes frame) = 0;
  // The block's padding has gone by; the next block stands at offset(). Not after filemarks.
  virtual Status OnBlockEnd() = 0;
  // The walk failed at `offset`, in the walker or in the sink. OK: it goes on with OnScan.
  virtual Status OnDamage(Status failure, std::uint64_t offset) = 0;
  // Behind damage: whether the walk goes on with the block that `block`, a physical one, begins
  // with.
  virtual Result<bool> OnScan(Bytes block) = 0;
};

class BlockWalker {
 public:
  // `sink` must outlive the walker.
  BlockWalker(std::string device_name, BlockSink* sink);

  Status Consume(Bytes chunk);

  // From now on a FILE block is the first of `transfer_size` bytes that OnFrame gets together, or
  // of fewer in a packed set (`packing` as in FrameGeometry); 0 ends that.
  void ExpectFrames(std::uint32_t transfer_size, std::uint32_t packing = 0) {
    frame_size_ = transfer_size;
    packing_ = packing;
  }

  // From the TAPE block. Before that, blocks of 1024.
  void UseBlockSize(std::uint32_t format_logical_block) {
    format_logical_block_ = format_logical_block;
  }

  // No further byte is looked at.
  void Stop() { stopped_ = true; }
  // The next bytes are the medium's from `offset` on, where a block stands.
  void ContinueAt(std::uint64_t offset);
  // Another medium begins.
  void Restart();
  // A hard filemark stands here: whatever was being walked does not go on. A block follows.
  void Interrupt();

  // To be called from OnStreamData with a stream's last bytes: whether they end in a right seal.
  // The next seal's coverage then begins behind them.
  bool CheckSeal(Bytes last_bytes);

  // Where the block grid begins: behind the last filemark.
  std::uint64_t origin() const { return origin_; }
  // Of the unit that the sink is being told of, from the beginning of the medium.
  std::uint64_t offset() const { return offset_; }
  // Bytes taken in but not yet handed on.
  std::size_t pending_size() const { return pending_.size(); }
  bool at_block_start() const { return state_ == State::kBlockHeader; }
  // Behind damage, on the search for a block to go on with.
  bool scanning() const { return state_ == State::kScan; }
  // Bytes of the current stream still to come.
  std::uint64_t stream_remaining() const {
    return state_ == State::kStreamData ? stream_remaining_ : 0;
  }
  const std::string& device_name() const { return device_name_; }
  // Whether nothing of a unit has arrived yet.
  bool between_blocks() const { return at_block_start() && pending_.empty(); }

  // 3241, with device, byte and `what` in the hint.
  Status Damaged(std::uint64_t at, std::string_view what) const;

 private:
  enum class State { kBlockHeader, kBlockBody, kStreamHeader, kStreamData, kScan };

  // Looks at `available`, which holds at least need_ bytes of the medium from offset_ on; moves on,
  // or raises need_.
  Status Step(Bytes available);
  Status StepBlockHeader(Bytes available);
  Status StepFrame(Bytes available);
  Status StepBlockBody(Bytes available);
  Status StepStreamHeader(Bytes available);
  Status StepStreamData(Bytes available);
  Status StepScan(Bytes available);
  // After `failure`: as the sink says.
  Status Recover(Status failure);
  Status BeginStreamData();
  void ExpectStreamData();
  Status EndStream();
  void Advance(Bytes taken);
  void ExpectBlock();
  void ExpectStreamHeader();
  // Filemarks end on multiples of 4.
  std::size_t StreamFill() const { return RoundUp(offset_, 4) - offset_; }

  const std::string device_name_;
  BlockSink* const sink_;
  bool stopped_ = false;

  State state_ = State::kBlockHeader;
  std::size_t need_ = sizeof(BlockHeader);
  std::size_t taken_ = 0;     // by the last step
  std::uint64_t offset_ = 0;  // of the first byte not yet taken
  std::uint64_t origin_ = 0;  // of the block grid: behind the last filemark
  std::uint32_t format_logical_block_ = kFormatLogicalBlock;
  ByteVector pending_;  // from offset_ on, as long as a unit lies in several chunks
  std::uint32_t frame_size_ = 0;
  std::uint32_t packing_ = 0;
  std::size_t scan_skip_ = 0;  // bytes up to the next physical block of a scan

  BlockHeader block_;
  StreamHeader stream_;
  StreamUse use_ = StreamUse::kSkip;
  std::uint64_t stream_remaining_ = 0;
  ByteVector collected_;

  // What the next seal covers so far.
  std::uint32_t covered_crc_ = 0;
  std::uint64_t covered_size_ = 0;
  bool seal_checked_ = false;
};

}  // namespace capstan::media
