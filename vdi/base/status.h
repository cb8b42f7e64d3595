// Status and Result<T>: how every fallible function of Capstan reports.
//
// A Status is OK or carries a code (what the caller should do next), a message (what happened, to
// what), and optionally the operating system's error number and a message number of SQL Server's
// catalogue (server/messages). Moving is cheap; an OK status allocates nothing.
// Threads: a value type; distinct objects may be used from distinct threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/core.h>

#include "vdi/base/check.h"

namespace capstan {

// Numbered as gRPC's codes, so that the edge to gRPC is a cast.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,           // stop quietly
  kUnknown = 2,             // a foreign error without a better home
  kInvalidArgument = 3,     // fix the call
  kDeadlineExceeded = 4,    // the wait ended; the message names what was waited for
  kNotFound = 5,            // no such thing
  kAlreadyExists = 6,       // take another one
  kPermissionDenied = 7,    // rights are missing
  kResourceExhausted = 8,   // needs memory, space or media
  kFailedPrecondition = 9,  // change the state first
  kAborted = 10,            // the device set was aborted: back off and start over
  kOutOfRange = 11,         // past the end
  kUnimplemented = 12,      // not supported by this peer or medium
  kInternal = 13,           // a bug
  kUnavailable = 14,        // the other side is gone: retry as it is
  kDataLoss = 15,           // never retry, raise an alarm
  kUnauthenticated = 16,    // name a login that the peer accepts
};

std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  Status(Code code, std::string message);

  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;
  Status(const Status& other);
  Status& operator=(const Status& other);
  ~Status() = default;

  bool ok() const { return rep_ == nullptr; }
  Code code() const { return rep_ ? rep_->code : Code::kOk; }
  std::string_view message() const { return rep_ ? std::string_view(rep_->message) : ""; }

  // The errno behind the failure, 0 if there was none.
  int os_error() const { return rep_ ? rep_->os_error : 0; }
  // SQL Server's message number if this failure is one of its messages, otherwise 0.
  int reason() const { return rep_ ? rep_->reason : 0; }
  // The state of that message where it is not the catalogue's (3201 has several), otherwise 0.
  int state() const { return rep_ ? rep_->state : 0; }
  // What SQL Server says in front of this message: 18210 in front of 3201. Null if nothing.
  const Status* earlier() const { return rep_ ? rep_->earlier.get() : nullptr; }
  // What the operator should do next, without the "HINT: " in front; empty if there is nothing to
  // say.
  std::string_view hint() const { return rep_ ? std::string_view(rep_->hint) : ""; }

  // Builders; no effect on an OK status.
  Status WithOsError(int os_error) &&;
  Status WithReason(int reason) &&;
  Status WithState(int state) &&;
  Status WithEarlier(Status earlier) &&;
  Status WithHint(std::string hint) &&;

  // "CODE_NAME: message" for logs and test output.
  std::string ToString() const;

 private:
  friend Status Annotate(Status status, std::string_view context);

  struct Rep {
    Code code;
    int os_error = 0;
    int reason = 0;
    std::string message;
    std::string hint;
    int state = 0;
    std::shared_ptr<const Status> earlier;  // shared by copies, since nobody changes it
  };
  std::unique_ptr<Rep> rep_;
};

inline Status OkStatus() {
  return Status();
}

// Error(Code::kNotFound, "unable to open medium '{}'", path)
template <typename... Args>
Status Error(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}

// "<context>: <strerror(os_error)>" with the code that fits the errno (ENOENT -> kNotFound,
// EACCES -> kPermissionDenied, ENOSPC/ENOMEM/EFBIG/EMFILE -> kResourceExhausted, ...).
Status OsError(int os_error, std::string_view context);

// Puts "<context>: " in front of the message; everything else is kept. OK stays OK.
Status Annotate(Status status, std::string_view context);

// A T or the Status that says why there is none. Never holds an OK status.
template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit on purpose: `return value;` and `return Error(...)` both read well.
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {
  }  // NOLINT(google-explicit-constructor): see above
  Result(Status status)
      : state_(std::in_place_index<1>,
               std::move(status)) {  // NOLINT(google-explicit-constructor): see above
    CAPSTAN_CHECK(!std::get<1>(state_).ok());
  }

  bool ok() const { return state_.index() == 0; }
  // OK if there is a value.
  Status status() const& { return ok() ? Status() : std::get<1>(state_); }
  Status status() && { return ok() ? Status() : std::move(std::get<1>(state_)); }

  // REQUIRES: ok()
  T& value() & {
    CAPSTAN_CHECK(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    CAPSTAN_CHECK(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    CAPSTAN_CHECK(ok());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace capstan

#define CAPSTAN_RETURN_IF_ERROR(expression)                                        \
  do {                                                                             \
    if (::capstan::Status capstan_status_ = (expression); !capstan_status_.ok()) { \
      return capstan_status_;                                                      \
    }                                                                              \
  } while (false)

#define CAPSTAN_CONCAT_INNER(a, b) a##b
#define CAPSTAN_CONCAT(a, b) CAPSTAN_CONCAT_INNER(a, b)

// CAPSTAN_ASSIGN_OR_RETURN(auto file, OpenFile(path));
#define CAPSTAN_ASSIGN_OR_RETURN(declaration, expression) \
  CAPSTAN_ASSIGN_OR_RETURN_INNER(CAPSTAN_CONCAT(capstan_result_, __LINE__), declaration, expression)
#define CAPSTAN_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                           \
  if (!result.ok()) {                                                   \
    return std::move(result).status();                                  \
  }                                                                     \
  declaration = std::move(result).value()
