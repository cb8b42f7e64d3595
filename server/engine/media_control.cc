#include "server/engine/media_control.h"

#include <fmt/format.h>

#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

using vdi::CommandCode;
using vdi::CompletionCode;

bool IsNoMedium(CompletionCode code) {
  return code == CompletionCode::kNoMediaInDrive || code == CompletionCode::kNotReady;
}

}  // namespace

Result<CompletionCode> MediaControl::Execute(CommandCode code, std::uint32_t size,
                                             std::int64_t* position) {
  vdi::ServerCommand command;
  command.code = code;
  command.size = size;
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, channel_.Execute(command));
  if (position != nullptr) {
    *position = done.out_position;
  }
  return done.completion_code;
}

Status MediaControl::Require(CommandCode code, std::uint32_t size) {
  CAPSTAN_ASSIGN_OR_RETURN(const CompletionCode done, Execute(code, size));
  return done == CompletionCode::kSuccess ? OkStatus() : set_.ErrorOf(direction_, channel_, done);
}

Status MediaControl::ClearError() {
  return Require(CommandCode::kClearError, 0);
}

Status MediaControl::Rewind() {
  return set_.Has(vdi::feature::kRewind) ? Require(CommandCode::kRewind, 0) : OkStatus();
}

Status MediaControl::Begin() {
  if (!set_.Has(vdi::feature::kRewind)) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const CompletionCode rewound, Execute(CommandCode::kRewind, 0));
  if (rewound == CompletionCode::kSuccess) {
    return OkStatus();
  }
  const bool changed = rewound == CompletionCode::kMediaChanged;
  if (!changed && (!IsNoMedium(rewound) || !set_.removable())) {
    return set_.ErrorOf(direction_, channel_, rewound);
  }
  CAPSTAN_RETURN_IF_ERROR(ClearError());
  if (!changed) {
    CAPSTAN_RETURN_IF_ERROR(Mount(1));
  }
  return Rewind();
}

Status MediaControl::Load(std::uint16_t sequence_number) {
  CAPSTAN_RETURN_IF_ERROR(Mount(sequence_number));
  return Rewind();
}

Status MediaControl::Mount(std::uint16_t sequence_number) {
  CAPSTAN_LOG(kInfo, "device '{}' waits for medium {}", channel_.target(), sequence_number);
  channel_.SetState(fmt::format("Waiting for medium {}", sequence_number));
  vdi::ServerCommand command;
  command.code = CommandCode::kLoad;
  command.size = sequence_number;
  const Result<vdi::ServerCommand> done = channel_.ExecutePatiently(command, [this] {
    if (error_.failed()) {
      set_.Abort(error_.status());  // nobody should go and fetch a medium any more
    }
  });
  channel_.SetState("Active");
  CAPSTAN_RETURN_IF_ERROR(done.status());
  if (done->completion_code != CompletionCode::kSuccess) {
    return set_.ErrorOf(direction_, channel_, done->completion_code)
        .WithHint(fmt::format("medium {} could not be mounted", sequence_number));
  }
  return OkStatus();
}

Result<bool> MediaControl::WriteFilemark() {
  CAPSTAN_ASSIGN_OR_RETURN(const CompletionCode code, Execute(CommandCode::kWriteMark, 0));
  if (code == CompletionCode::kSuccess) {
    return false;
  }
  if (code != CompletionCode::kEndOfMedia) {
    return set_.ErrorOf(direction_, channel_, code);
  }
  CAPSTAN_RETURN_IF_ERROR(ClearError());
  return true;
}

Result<std::optional<std::uint64_t>> MediaControl::Position() {
  std::optional<std::uint64_t> position;
  if (!positions_ || !set_.Has(vdi::feature::kPosition)) {
    return position;
  }
  std::int64_t block = 0;
  CAPSTAN_ASSIGN_OR_RETURN(const CompletionCode code,
                           Execute(CommandCode::kGetPosition, 0, &block));
  if (code != CompletionCode::kSuccess) {
    positions_ = false;
    CAPSTAN_RETURN_IF_ERROR(ClearError());
  } else if (block >= 0) {
    position = static_cast<std::uint64_t>(block);
  }
  return position;
}

Result<bool> MediaControl::SkipFilemarks(std::uint32_t count) {
  CAPSTAN_ASSIGN_OR_RETURN(const CompletionCode code, Execute(CommandCode::kSkipMarks, count));
  if (code == CompletionCode::kSuccess) {
    return true;
  }
  if (code != CompletionCode::kNoDataDetected && code != CompletionCode::kHandleEof &&
      code != CompletionCode::kEndOfMedia) {
    return set_.ErrorOf(direction_, channel_, code);
  }
  CAPSTAN_RETURN_IF_ERROR(ClearError());
  return false;
}

Result<bool> MediaControl::Locate(std::uint64_t block) {
  if (!positions_ || !set_.Has(vdi::feature::kPosition)) {
    return false;
  }
  vdi::ServerCommand command;
  command.code = CommandCode::kSetPosition;
  command.size = static_cast<std::uint32_t>(vdi::Whence::kBeginning);
  command.position = static_cast<std::int64_t>(block);
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, channel_.Execute(command));
  if (done.completion_code == CompletionCode::kSuccess) {
    return true;
  }
  if (done.completion_code != CompletionCode::kNotSupported) {
    return set_.ErrorOf(direction_, channel_, done.completion_code, command.code);
  }
  positions_ = false;
  CAPSTAN_RETURN_IF_ERROR(ClearError());
  return false;
}

Status MediaControl::GoTo(const media::TapePlace& place) {
  if (place.block) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool there, Locate(*place.block));
    if (there) {
      return OkStatus();
    }
  }
  CAPSTAN_RETURN_IF_ERROR(Rewind());
  CAPSTAN_ASSIGN_OR_RETURN(const bool there, SkipFilemarks(place.filemarks));
  return there ? OkStatus()
               : set_.ErrorOf(direction_, channel_, CompletionCode::kNoDataDetected,
                              CommandCode::kSkipMarks);
}

}  // namespace capstan::engine
