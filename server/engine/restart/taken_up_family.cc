#include "server/engine/restart/taken_up_family.h"

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "server/engine/extent_coder.h"
#include "server/engine/family_feed.h"
#include "server/engine/media_control.h"
#include "server/engine/restart/interrupted_backup.h"
#include "server/media/family_reader.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

class TakeUpVisitor final : public media::FamilyVisitor {
 public:
  TakeUpVisitor(const FamilyToTakeUp& family, ExtentDecoder decoder)
      : family_(family), decoder_(std::move(decoder)) {}

  Status OnMediaHeader(const media::MediaHeader& /*header*/) override { return OkStatus(); }
  Status OnSetBegin(const media::BackupSet& /*set*/) override { return OkStatus(); }
  media::Authenticator* authenticator() override {
    authenticator_.emplace(family_.coding.key);
    return &*authenticator_;
  }
  Status OnVoidFrame(const media::FrameView& frame) override {
    CAPSTAN_RETURN_IF_ERROR(Verify(frame));
    family_.writer.AdoptFrame(frame.extent);
    return OkStatus();
  }
  Status OnFrame(const media::FrameView& frame) override {
    CAPSTAN_RETURN_IF_ERROR(Verify(frame));
    CAPSTAN_ASSIGN_OR_RETURN(const std::span<const std::byte> payload, Decode(frame));
    const writers::Extent place{.file_index = frame.extent.file_index,
                                .offset = frame.extent.file_offset,
                                .length = frame.extent.length};
    CAPSTAN_ASSIGN_OR_RETURN(const bool kept, family_.session.Keeps(place, payload));
    if (kept) {
      family_.on_kept(frame.extent);
    } else {
      void_frames_.push_back(frame.medium_offset);
    }
    family_.writer.AdoptFrame(kept ? frame.extent : frame.extent.AsVoid());
    return OkStatus();
  }
  Status OnSetEnd(const media::SetTrailer& /*trailer*/,
                  const media::FamilySummary& /*seen*/) override {
    return OkStatus();  // it was interrupted that late
  }

  // Places on the medium of the frames that are to become void.
  const std::vector<std::uint64_t>& void_frames() const { return void_frames_; }

 private:
  Status Verify(const media::FrameView& frame) const {
    return media::VerifyFrame(frame, family_.channel.target());
  }

  Result<std::span<const std::byte>> Decode(const media::FrameView& frame) {
    if (family_.coding.form.plain()) {
      return frame.payload;
    }
    stored_.assign(frame.payload.begin(), frame.payload.end());  // decrypted in place
    auto payload = decoder_.Decode(frame.extent, stored_);
    if (!payload.ok()) {
      return SqlError(65004, family_.channel.target(), frame.medium_offset,
                      payload.status().message());
    }
    return payload;
  }

  const FamilyToTakeUp& family_;
  ExtentDecoder decoder_;
  std::optional<KeyAuthenticator> authenticator_;
  std::vector<std::byte> stored_;
  std::vector<std::uint64_t> void_frames_;
};

// Reads or writes the head of the frame at `position`.
Status Transfer(const FamilyToTakeUp& family, vdi::CommandCode code, std::uint64_t position,
                std::span<std::byte> head) {
  vdi::ServerCommand command;
  command.code = code;
  command.buffer = head.data();
  command.size = static_cast<std::uint32_t>(head.size());
  command.position = static_cast<std::int64_t>(position);
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, family.channel.Execute(command));
  if (done.completion_code != vdi::CompletionCode::kSuccess ||
      done.bytes_transferred != done.size) {
    const bool reads = code == vdi::CommandCode::kRead;
    return family.set.ErrorOf(reads ? Direction::kRead : Direction::kWrite, family.channel,
                              done.completion_code);
  }
  return OkStatus();
}

Status WriteVoidFrames(const FamilyToTakeUp& family, const std::vector<std::uint64_t>& places) {
  TransferBuffer* const buffer = family.set.pool().Take();
  if (buffer == nullptr) {
    return SqlError(3204);
  }
  const std::span<std::byte> head = buffer->data.first(media::kPhysicalBlock);
  Status status;
  for (auto place = places.begin(); place != places.end() && status.ok() && !family.error.failed();
       ++place) {
    status = Transfer(family, vdi::CommandCode::kRead, *place, head);
    if (status.ok()) {
      media::MakeVoid(head);
      status = Transfer(family, vdi::CommandCode::kWrite, *place, head);
    }
  }
  family.set.pool().Return(buffer);
  return status;
}

}  // namespace

Status TakeUpFamily(const FamilyToTakeUp& family) {
  CAPSTAN_ASSIGN_OR_RETURN(ExtentDecoder decoder, ExtentDecoder::Create(family.coding));
  TakeUpVisitor visitor(family, std::move(decoder));
  const auto reader = media::FamilyReader::Create(family.channel.target(), 1, &visitor);
  Status status;
  {
    FamilyFeed feed(family.set, family.channel, family.error, family.buffers);
    status = feed.Run(*reader);
  }
  if (!status.ok() && !IsEndOfWritten(status)) {
    return status;
  }
  // A read ahead may have met the end of the file.
  CAPSTAN_RETURN_IF_ERROR(
      MediaControl(family.set, family.channel, Direction::kWrite, family.error).ClearError());
  CAPSTAN_LOG(kInfo, "'{}' goes on behind frame {}, {} of them void: {}", family.channel.target(),
              family.writer.summary().frame_count, visitor.void_frames().size(), status.ToString());
  return WriteVoidFrames(family, visitor.void_frames());
}

}  // namespace capstan::engine
