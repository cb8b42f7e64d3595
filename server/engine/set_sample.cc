#include "server/engine/set_sample.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "server/engine/extent_coder.h"
#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

constexpr std::uint32_t kReadSize = 1 << 20;  // bytes, at most, at a time
constexpr char kWithoutSample[] =
    "the end of the backup set is damaged or missing; verify it without SAMPLE";

// What a reader of a sample is told.
class SampleVisitor final : public media::FamilyVisitor {
 public:
  SampleVisitor(const SampleRequest& request, DamageReport& damage)
      : request_(request), damage_(damage) {}

  // A frame that cannot be read is noted by whoever chose it.
  void OfFramesAlone() { frames_alone_ = true; }

  Status OnMediaHeader(const media::MediaHeader& header) override {
    sampled.arrived.header = header;
    return OkStatus();
  }
  Status OnSetBegin(const media::BackupSet& set) override {
    sampled.arrived.set = set;
    CAPSTAN_ASSIGN_OR_RETURN(coding_, request_.keys.Unlock(set, request_.target));
    if (!coding_.form.plain()) {
      CAPSTAN_ASSIGN_OR_RETURN(decoder_, ExtentDecoder::Create(coding_));
    }
    return OkStatus();
  }
  media::Authenticator* authenticator() override { return &authenticator_.emplace(coding_.key); }
  Status OnFrame(const media::FrameView& frame) override {
    ++sampled.frames_read;
    sampled.bytes_read += frame.extent.length;
    if (Status status = Check(frame); !status.ok()) {
      damage_.NoteLost(request_.target, frame.extent, status);
    }
    return OkStatus();
  }
  Status OnSetEnd(const media::SetTrailer& trailer, const media::FamilySummary& seen) override {
    sampled.finished = {.target = request_.target, .trailer = trailer, .seen = seen};
    return OkStatus();
  }
  Status OnDamage(const media::MediumDamage& damage) override {
    if (!frames_alone_) {
      damage_.NoteDamage(request_.target, damage);
    }
    return OkStatus();
  }

  SampledFamily sampled;

 private:
  Status Check(const media::FrameView& frame) {
    CAPSTAN_RETURN_IF_ERROR(media::VerifyFrame(frame, request_.target));
    if (!decoder_) {
      return OkStatus();
    }
    stored_.assign(frame.payload.begin(), frame.payload.end());
    const auto payload = decoder_->Decode(frame.extent, stored_);
    return payload.ok()
               ? OkStatus()
               : SqlError(65004, request_.target, frame.medium_offset, payload.status().message());
  }

  const SampleRequest& request_;
  DamageReport& damage_;
  bool frames_alone_ = false;
  SetCoding coding_;
  std::optional<KeyAuthenticator> authenticator_;
  std::optional<ExtentDecoder> decoder_;  // unless the set is plain
  std::vector<std::byte> stored_;         // a frame's payload, which is decrypted in place
};

// A reader and where in the medium it is.
class SampleReader {
 public:
  SampleReader(media::MediumSource& source, const SampleRequest& request, std::uint64_t set_offset,
               SampleVisitor* visitor)
      : source_(source),
        reader_(media::FamilyReader::Create(request.target, request.file_number, visitor,
                                            {.tolerate_damage = true, .set_offset = set_offset})),
        buffer_(kReadSize) {}

  // Reads what stands in front of the frames.
  Status ReadHead() {
    return ReadUntil([&] { return reader_->at_frame(); });
  }
  Status ReadEnd(std::uint64_t offset) {
    CAPSTAN_RETURN_IF_ERROR(reader_->JumpToEnd(offset));
    at_ = offset;
    return ReadUntil([&] { return reader_->done(); });
  }
  Status ReadFrame(const media::LostFrame& frame) {
    CAPSTAN_RETURN_IF_ERROR(reader_->JumpToFrame(frame.number, frame.medium_offset));
    at_ = frame.medium_offset;
    const std::uint64_t end = frame.medium_offset + frame.size;
    return ReadUntil([&] { return at_ >= end; }, end);
  }

 private:
  // Not beyond `limit`: in a packed set the reader asks for more than one frame at a time.
  Status ReadUntil(const std::function<bool()>& reached,
                   std::uint64_t limit = std::numeric_limits<std::uint64_t>::max()) {
    while (!reached()) {
      const auto size = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(reader_->next_read_size(kReadSize), limit - at_));
      const std::span<std::byte> target = std::span(buffer_).first(size);
      CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source_.ReadAt(at_, target));
      if (filled == 0) {
        return reader_->Finish();
      }
      CAPSTAN_RETURN_IF_ERROR(reader_->Consume(target.first(filled)));
      const std::uint64_t jump = reader_->TakeJump();
      at_ = jump != 0 ? jump : at_ + filled;
    }
    return OkStatus();
  }

  media::MediumSource& source_;
  const std::unique_ptr<media::FamilyReader> reader_;
  std::vector<std::byte> buffer_;
  std::uint64_t at_ = 0;
};

// Of which frames the sample consists: one of each of as many equal parts as are to be read.
std::vector<bool> Choose(std::size_t count, const SampleRequest& request,
                         std::uint16_t family_number) {
  const auto wanted =
      static_cast<std::size_t>(std::ceil(static_cast<double>(count) * request.percent / 100));
  const std::size_t parts = std::min(std::max<std::size_t>(wanted, 1), count);
  std::mt19937_64 random(request.seed + family_number);
  std::vector<bool> chosen(count);
  for (std::size_t i = 0; i < parts; ++i) {
    const std::size_t first = i * count / parts;
    const std::size_t last = (i + 1) * count / parts - 1;
    chosen[std::uniform_int_distribution<std::size_t>(first, last)(random)] = true;
  }
  return chosen;
}

// 3287 if the medium has no such set; 3241 if its filemarks do not lead there, since then where the
// frames end is not known.
Result<media::SetListing> FindSet(media::MediumSource& source, const SampleRequest& request) {
  CAPSTAN_ASSIGN_OR_RETURN(const media::MediumListing listing, media::ReadListing(source));
  for (const media::SetListing& set : listing.sets) {
    if (set.set.position != request.file_number) {
      continue;
    }
    if (set.foreign) {
      return SqlError(3143, request.target);
    }
    if (set.frames_end == 0) {
      return SqlError(3241, request.target).WithHint(kWithoutSample);
    }
    return set;
  }
  return SqlError(3287, request.file_number, request.target);
}

}  // namespace

Result<SetCoding> SampleKeys::Unlock(const media::BackupSet& set, const std::string& target) {
  MutexLock lock(mutex_);
  const auto known = codings_.find(set.backup_set_guid);
  if (known != codings_.end()) {
    return known->second;
  }
  CAPSTAN_ASSIGN_OR_RETURN(SetCoding coding, UnlockCoding(set, keys_, target));
  return codings_.emplace(set.backup_set_guid, std::move(coding)).first->second;
}

Result<FamilyIndex> ReadFamilyIndex(media::MediumSource& source, const SampleRequest& request,
                                    DamageReport& damage) {
  CAPSTAN_ASSIGN_OR_RETURN(const media::SetListing set, FindSet(source, request));
  SampleVisitor visitor(request, damage);
  SampleReader whole(source, request, set.set_offset, &visitor);
  CAPSTAN_RETURN_IF_ERROR(whole.ReadHead());
  CAPSTAN_RETURN_IF_ERROR(whole.ReadEnd(set.frames_end));
  FamilyIndex index{.arrived = std::move(visitor.sampled.arrived),
                    .finished = std::move(visitor.sampled.finished),
                    .frames = {},
                    .set_offset = set.set_offset};
  index.arrived.target = request.target;
  if (index.finished.trailer.damaged) {
    // The report has the place. Without the index there is nothing to choose from.
    return SqlError(3241, request.target).WithHint(kWithoutSample);
  }
  // Nothing was read of the frames: the index names them all.
  index.frames = std::exchange(index.finished.trailer.lost_frames, {});
  return index;
}

Result<SampledFamily> SampleFamily(media::MediumSource& source, const SampleRequest& request,
                                   DamageReport& damage) {
  CAPSTAN_ASSIGN_OR_RETURN(FamilyIndex family, ReadFamilyIndex(source, request, damage));
  const std::vector<media::LostFrame>& index = family.frames;
  for (const media::LostFrame& frame : index) {
    request.digest.Add(frame.extent);
  }
  SampleVisitor frame_visitor(request, damage);
  frame_visitor.OfFramesAlone();
  SampleReader frames(source, request, family.set_offset, &frame_visitor);
  CAPSTAN_RETURN_IF_ERROR(frames.ReadHead());
  const std::vector<bool> chosen =
      Choose(index.size(), request, family.arrived.header.family_number);
  for (std::size_t i = 0; i < index.size(); ++i) {
    if (!chosen[i]) {
      continue;
    }
    const std::uint64_t before = frame_visitor.sampled.frames_read;
    CAPSTAN_RETURN_IF_ERROR(frames.ReadFrame(index[i]));
    if (frame_visitor.sampled.frames_read == before) {
      damage.NoteLost(request.target, index[i].extent,
                      SqlError(65004, request.target, index[i].medium_offset, "a frame's header"));
    }
  }
  return SampledFamily{.arrived = std::move(family.arrived),
                       .finished = std::move(family.finished),
                       .frames_read = frame_visitor.sampled.frames_read,
                       .bytes_read = frame_visitor.sampled.bytes_read};
}

}  // namespace capstan::engine
