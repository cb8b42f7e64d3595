#include "server/media/family_reader.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "server/media/family_grammar.h"
#include "server/media/medium_error.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

// From SSET to the first frame there are at least four blocks; TAPE and filemark stand before them.
constexpr std::uint32_t kPreambleSizeMin = 3 * kPhysicalBlock;

// What a family looks like from outside: chunks, filemarks, media and errors. What its bytes mean
// is FamilyGrammar's.
class MtfFamilyReader final : public FamilyReader {
 public:
  MtfFamilyReader(std::string device_name, std::uint16_t position, FamilyVisitor* visitor,
                  const ReaderOptions& options)
      : grammar_(std::move(device_name), position, visitor, options),
        wanted_position_(position),
        media_(options.media) {}

  Status Consume(std::span<const std::byte> chunk) override;
  std::uint32_t next_read_size(std::uint32_t transfer_size_max) const override;
  bool may_read_ahead() const override {
    return grammar_.phase() >= Phase::kFrames && grammar_.phase() != Phase::kNextMedium;
  }
  std::uint64_t TakeJump() override;
  std::optional<TapePlace> TakePlace() override { return grammar_.TakePlace(); }
  bool done() const override { return grammar_.phase() == Phase::kDone; }
  Status OnFilemark() override;
  Status EndMedium() override;
  std::uint16_t next_medium() const override {
    return grammar_.phase() == Phase::kNextMedium
               ? static_cast<std::uint16_t>(grammar_.chain().sequence_number() + 1)
               : std::uint16_t{0};
  }
  void BeginNextMedium() override;
  bool at_frame() const override { return grammar_.at_frame(); }
  Status JumpToFrame(std::uint64_t number, std::uint64_t offset) override {
    return grammar_.JumpToFrame(number, offset);
  }
  Status JumpToEnd(std::uint64_t offset) override { return grammar_.JumpToEnd(offset); }
  Status Finish() override;

 private:
  using Phase = FamilyGrammar::Phase;

  // Whether what looks like damage may be the end of a full medium, which only its last bytes show.
  bool may_be_full() const { return media_ == Media::kSeveral && !grammar_.hard_filemarks(); }
  Status CutOff() const;

  FamilyGrammar grammar_;
  const std::uint16_t wanted_position_;
  const Media media_;
  Status failure_;
  std::uint64_t consumed_ = 0;  // of the medium
  Status suspicion_;            // what is wrong with the end, unless the medium was full there
};

Status MtfFamilyReader::Consume(std::span<const std::byte> chunk) {
  if (!failure_.ok()) {
    return failure_;
  }
  if (grammar_.phase() == Phase::kNextMedium) {
    return OkStatus();
  }
  consumed_ += chunk.size();
  if (suspicion_.ok()) {
    Status status = grammar_.walker().Consume(chunk);
    if (!status.ok() && may_be_full() && grammar_.end_begun()) {
      suspicion_ = std::move(status);
    } else {
      failure_ = std::move(status);
    }
  }
  if (may_be_full()) {
    grammar_.KeepTail(chunk);
  }
  return failure_;
}

std::uint32_t MtfFamilyReader::next_read_size(std::uint32_t transfer_size_max) const {
  const BlockWalker& walker = grammar_.walker();
  const Phase phase = grammar_.phase();
  std::uint64_t size = kPhysicalBlock;
  if (phase == Phase::kTape && walker.offset() == 0) {
    size = kPreambleSizeMin;
  } else if (phase == Phase::kFrames && (walker.at_block_start() || walker.scanning())) {
    const std::uint32_t transfer_size = grammar_.set().description().transfer_size;
    const std::uint64_t arrived = walker.offset() + walker.pending_size();
    size = RoundUp(transfer_size - (arrived - grammar_.frames_offset()) % transfer_size,
                   kPhysicalBlock);
  } else if (phase >= Phase::kFirstEnd || phase == Phase::kOtherSet) {
    size = transfer_size_max;
  } else if (phase == Phase::kSetHead) {
    // What is left of the descriptor cannot reach beyond the first frame.
    size = std::max<std::uint64_t>(walker.stream_remaining(), size);
  }
  size = std::min<std::uint64_t>(size, transfer_size_max) / kPhysicalBlock * kPhysicalBlock;
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(size, kPhysicalBlock));
}

std::uint64_t MtfFamilyReader::TakeJump() {
  const std::uint64_t jump = grammar_.TakeJump();
  consumed_ = jump != 0 ? jump : consumed_;
  return jump;
}

Status MtfFamilyReader::OnFilemark() {
  if (!failure_.ok() || done() || grammar_.phase() == Phase::kNextMedium) {
    return failure_;
  }
  failure_ = grammar_.OnHardFilemark();
  return failure_;
}

Status MtfFamilyReader::EndMedium() {
  if (!failure_.ok() || done() || grammar_.phase() == Phase::kNextMedium) {
    return failure_;
  }
  if (grammar_.EndsAsFullMedium(consumed_)) {
    return OkStatus();
  }
  failure_ = grammar_.GiveUp(suspicion_.ok() ? CutOff() : suspicion_);
  return failure_;
}

Status MtfFamilyReader::CutOff() const {
  const BlockWalker& walker = grammar_.walker();
  const MediaChain& chain = grammar_.chain();
  if (walker.offset() == 0 && walker.pending_size() == 0) {
    return SqlError(3254, walker.device_name());
  }
  if (grammar_.phase() == Phase::kSet && walker.between_blocks() && grammar_.set().position() > 0 &&
      !chain.continued()) {
    return SqlError(3287, wanted_position_, walker.device_name())
        .WithHint(fmt::format("the medium holds {} backup sets; RESTORE HEADERONLY lists them",
                              grammar_.set().position()));
  }
  const std::uint64_t end = walker.offset() + walker.pending_size();
  return grammar_.phase() < Phase::kFrames && chain.on_first_medium()
             ? CutOffInHead(walker.device_name(), end)
             : CutOffInSet(walker.device_name(), end);
}

Status MtfFamilyReader::Finish() {
  CAPSTAN_RETURN_IF_ERROR(EndMedium());
  if (next_medium() != 0) {
    return SqlError(3256, grammar_.walker().device_name())
        .WithHint(fmt::format("the set goes on on medium {} of family {}", next_medium(),
                              grammar_.chain().header().family_number));
  }
  return OkStatus();
}

void MtfFamilyReader::BeginNextMedium() {
  grammar_.BeginNextMedium();
  consumed_ = 0;
  suspicion_ = OkStatus();
}

}  // namespace

Status VerifyFrame(const FrameView& frame, std::string_view device_name) {
  if (Crc32c(0, frame.payload) == frame.extent.crc32c) {
    return OkStatus();
  }
  return SqlError(65004, device_name, frame.medium_offset,
                  "the checksum of a frame's data is wrong");
}

std::unique_ptr<FamilyReader> FamilyReader::Create(std::string device_name, std::uint16_t position,
                                                   FamilyVisitor* visitor, ReaderOptions options) {
  return std::make_unique<MtfFamilyReader>(std::move(device_name), position, visitor, options);
}

}  // namespace capstan::media
