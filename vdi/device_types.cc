#include "vdi/device_types.h"

namespace capstan::vdi {

std::string_view CommandName(CommandCode code) {
  switch (code) {
    case CommandCode::kRead:
      return "Read";
    case CommandCode::kWrite:
      return "Write";
    case CommandCode::kClearError:
      return "ClearError";
    case CommandCode::kRewind:
      return "Rewind";
    case CommandCode::kWriteMark:
      return "WriteMark";
    case CommandCode::kSkipMarks:
      return "SkipMarks";
    case CommandCode::kSkipBlocks:
      return "SkipBlocks";
    case CommandCode::kLoad:
      return "Load";
    case CommandCode::kGetPosition:
      return "GetPosition";
    case CommandCode::kSetPosition:
      return "SetPosition";
    case CommandCode::kDiscard:
      return "Discard";
    case CommandCode::kFlush:
      return "Flush";
    case CommandCode::kSnapshot:
      return "Snapshot";
    case CommandCode::kMountSnapshot:
      return "MountSnapshot";
    case CommandCode::kPrepareToFreeze:
      return "PrepareToFreeze";
    case CommandCode::kFileInfoBegin:
      return "FileInfoBegin";
    case CommandCode::kFileInfoEnd:
      return "FileInfoEnd";
    case CommandCode::kGetError:
      return "GetError";
    case CommandCode::kComplete:
      return "Complete";
  }
  return "unknown command";
}

std::string_view CompletionText(CompletionCode code) {
  switch (code) {
    case CompletionCode::kSuccess:
      return "0(The operation completed successfully.)";
    case CompletionCode::kAccessDenied:
      return "5(Access is denied.)";
    case CompletionCode::kInvalidHandle:
      return "6(The handle is invalid.)";
    case CompletionCode::kNotReady:
      return "21(The device is not ready.)";
    case CompletionCode::kCrc:
      return "23(Data error (cyclic redundancy check).)";
    case CompletionCode::kWriteFault:
      return "29(The system cannot write to the specified device.)";
    case CompletionCode::kReadFault:
      return "30(The system cannot read from the specified device.)";
    case CompletionCode::kHandleEof:
      return "38(Reached the end of the file.)";
    case CompletionCode::kHandleDiskFull:
      return "39(The disk is full.)";
    case CompletionCode::kNotSupported:
      return "50(The request is not supported.)";
    case CompletionCode::kDiskFull:
      return "112(There is not enough space on the disk.)";
    case CompletionCode::kFileTooLarge:
      return "223(The file size exceeds the limit allowed and cannot be saved.)";
    case CompletionCode::kOperationAborted:
      return "995(The I/O operation has been aborted because of either a thread exit or an "
             "application request.)";
    case CompletionCode::kEndOfMedia:
      return "1100(The physical end of the tape has been reached.)";
    case CompletionCode::kFilemarkDetected:
      return "1101(A tape access reached a filemark.)";
    case CompletionCode::kBeginningOfMedia:
      return "1102(The beginning of the tape or a partition was encountered.)";
    case CompletionCode::kNoDataDetected:
      return "1104(No more data is on the tape.)";
    case CompletionCode::kMediaChanged:
      return "1110(The media in the drive may have changed.)";
    case CompletionCode::kNoMediaInDrive:
      return "1112(No media in drive.)";
    case CompletionCode::kIoDevice:
      return "1117(The request could not be performed because of an I/O device error.)";
    case CompletionCode::kEomOverflow:
      return "1129(The physical end of the tape has been reached.)";
    case CompletionCode::kNoSystemResources:
      return "1450(Insufficient system resources exist to complete the requested service.)";
  }
  return "an error without a text";
}

}  // namespace capstan::vdi
