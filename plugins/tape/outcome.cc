#include "plugins/tape/outcome.h"

#include <cerrno>

namespace capstan::tape {
namespace {

struct Words {
  int os_error;
  const char* cause;
  const char* hint;
};

Words WordsFor(Outcome outcome) {
  switch (outcome) {
    case Outcome::kNoRoom:
      return {ENOSPC, "the cartridge is full", ""};
    case Outcome::kNoMedium:
      return {ENOMEDIUM, "there is no cartridge in the drive", "load one and run it again"};
    case Outcome::kMediumChanged:
      return {EIO, "the drive was reset, or its cartridge was changed, and the place is lost",
              "see that nobody else uses the drive, and run it again"};
    case Outcome::kWriteProtected:
      return {EROFS, "the cartridge is write-protected",
              "move the tab of the cartridge, or load another one"};
    case Outcome::kWorm:
      return {EPERM, "the cartridge can be written once, and there is something on it",
              "append to it, or load another cartridge"};
    case Outcome::kIncompatible:
      return {EMEDIUMTYPE, "the drive cannot use this cartridge",
              "load one of a generation that the drive writes"};
    case Outcome::kNotReady:
      return {EAGAIN, "the drive is not ready", "wait until it has loaded the cartridge"};
    case Outcome::kBusy:
      return {EBUSY, "somebody else uses the drive", ""};
    case Outcome::kUnsupported:
      return {ENOTSUP, "the drive has no such command", ""};
    case Outcome::kMediumError:
      return {EIO, "the cartridge is damaged here, or the drive is dirty",
              "clean the drive and try again; copy what is on the cartridge to another one"};
    case Outcome::kHardwareError:
      return {EIO, "the drive is defective", "its own log and display tell more"};
    case Outcome::kTransportError:
      return {EIO, "the drive cannot be reached", "see to its power, its cable or its network"};
    case Outcome::kFilemark:
      return {0, "met a filemark", ""};
    case Outcome::kEndOfData:
      return {0, "met the end of the data", ""};
    case Outcome::kBeginning:
      return {0, "met the beginning of the tape", ""};
    case Outcome::kBlockTooLong:
      return {EIO, "a block is longer than any that the drive says it can read", ""};
    case Outcome::kDone:
    case Outcome::kEarlyWarning:
      break;
  }
  return {0, "no failure", ""};
}

bool IsTransient(Outcome outcome) {
  return outcome == Outcome::kNotReady || outcome == Outcome::kBusy ||
         outcome == Outcome::kTransportError;
}

}  // namespace

std::uint32_t CompletionCodeOf(Outcome outcome, std::int32_t op) {
  const bool reads = op == CAPSTAN_OP_READ || op == CAPSTAN_OP_SKIP_BLOCKS ||
                     op == CAPSTAN_OP_SKIP_MARKS || op == CAPSTAN_OP_SET_POSITION;
  switch (outcome) {
    case Outcome::kDone:
      return CAPSTAN_E_OK;
    case Outcome::kEarlyWarning:
      return CAPSTAN_E_END_OF_MEDIUM;
    case Outcome::kFilemark:
      return CAPSTAN_E_FILE_MARK;
    case Outcome::kEndOfData:
      return CAPSTAN_E_NO_DATA;
    case Outcome::kBeginning:
      return kBeginningOfMedium;
    case Outcome::kNoRoom:
      return CAPSTAN_E_NO_ROOM;
    case Outcome::kNoMedium:
      return CAPSTAN_E_NO_MEDIUM;
    case Outcome::kWriteProtected:
    case Outcome::kWorm:
      return CAPSTAN_E_WRITE_PROTECT;
    case Outcome::kIncompatible:
    case Outcome::kNotReady:
    case Outcome::kBusy:
      return CAPSTAN_E_NOT_READY;
    case Outcome::kUnsupported:
      return CAPSTAN_E_UNSUPPORTED;
    case Outcome::kMediumError:
      return reads ? CAPSTAN_E_DATA_CRC : CAPSTAN_E_WRITE_FAULT;
    case Outcome::kBlockTooLong:
      return CAPSTAN_E_READ_FAULT;
    case Outcome::kMediumChanged:
    case Outcome::kHardwareError:
    case Outcome::kTransportError:
      return CAPSTAN_E_IO;
  }
  return CAPSTAN_E_IO;
}

Failure FailureOf(const Answer& answer, const std::string& what) {
  if (answer.failure.failed()) {
    Failure failure = answer.failure;
    if (failure.hint.empty()) {
      failure.hint = WordsFor(answer.outcome).hint;
    }
    return failure;
  }
  const Words words = WordsFor(answer.outcome);
  return {.os_error = words.os_error,
          .message = "unable to " + what + ": " + words.cause,
          .hint = words.hint,
          .transient = IsTransient(answer.outcome)};
}

Done DoneWith(const Answer& answer, std::int32_t op, const std::string& what) {
  Done done{.code = CompletionCodeOf(answer.outcome, op)};
  if (!answer.done()) {
    done.failure = FailureOf(answer, what);
  }
  return done;
}

}  // namespace capstan::tape
