#include "vdi/base/status.h"

#include <cerrno>
#include <system_error>

namespace capstan {

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk:
      return "OK";
    case Code::kCancelled:
      return "CANCELLED";
    case Code::kUnknown:
      return "UNKNOWN";
    case Code::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case Code::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case Code::kNotFound:
      return "NOT_FOUND";
    case Code::kAlreadyExists:
      return "ALREADY_EXISTS";
    case Code::kPermissionDenied:
      return "PERMISSION_DENIED";
    case Code::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case Code::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case Code::kAborted:
      return "ABORTED";
    case Code::kOutOfRange:
      return "OUT_OF_RANGE";
    case Code::kUnimplemented:
      return "UNIMPLEMENTED";
    case Code::kInternal:
      return "INTERNAL";
    case Code::kUnavailable:
      return "UNAVAILABLE";
    case Code::kDataLoss:
      return "DATA_LOSS";
    case Code::kUnauthenticated:
      return "UNAUTHENTICATED";
  }
  return "UNKNOWN_CODE";
}

Status::Status(Code code, std::string message) {
  CAPSTAN_CHECK(code != Code::kOk);
  rep_ = std::make_unique<Rep>(
      Rep{.code = code, .message = std::move(message), .hint = {}, .earlier = {}});
}

Status::Status(const Status& other)
    : rep_(other.rep_ ? std::make_unique<Rep>(*other.rep_) : nullptr) {}

Status& Status::operator=(const Status& other) {
  if (this != &other) {
    rep_ = other.rep_ ? std::make_unique<Rep>(*other.rep_) : nullptr;
  }
  return *this;
}

Status Status::WithOsError(int os_error) && {
  if (rep_) {
    rep_->os_error = os_error;
  }
  return std::move(*this);
}

Status Status::WithReason(int reason) && {
  if (rep_) {
    rep_->reason = reason;
  }
  return std::move(*this);
}

Status Status::WithState(int state) && {
  if (rep_) {
    rep_->state = state;
  }
  return std::move(*this);
}

Status Status::WithEarlier(Status earlier) && {
  if (rep_ && !earlier.ok()) {
    rep_->earlier = std::make_shared<const Status>(std::move(earlier));
  }
  return std::move(*this);
}

Status Status::WithHint(std::string hint) && {
  if (rep_) {
    rep_->hint = std::move(hint);
  }
  return std::move(*this);
}

std::string Status::ToString() const {
  return ok() ? "OK" : fmt::format("{}: {}", CodeName(code()), message());
}

namespace {

Code CodeOfErrno(int os_error) {
  switch (os_error) {
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return Code::kResourceExhausted;
    case EINVAL:
    case ENAMETOOLONG:
    case EISDIR:
      return Code::kInvalidArgument;
    case EBUSY:
    case EAGAIN:
    case EPIPE:
    case ECONNREFUSED:
    case ECONNRESET:
      return Code::kUnavailable;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    case ECANCELED:
      return Code::kCancelled;
    case ENOSYS:
    case EOPNOTSUPP:
      return Code::kUnimplemented;
    default:
      return Code::kUnknown;
  }
}

}  // namespace

Status OsError(int os_error, std::string_view context) {
  return Error(CodeOfErrno(os_error), "{}: {}", context, std::generic_category().message(os_error))
      .WithOsError(os_error);
}

Status Annotate(Status status, std::string_view context) {
  if (status.rep_) {
    status.rep_->message = fmt::format("{}: {}", context, status.rep_->message);
  }
  return status;
}

}  // namespace capstan
