// Matchers for Status and Result: EXPECT_THAT(result, IsOk()), HasCode(Code::kNotFound),
// HasReason(3201), MessageHas("text"). Work on both types, and print the whole status on failure.
#pragma once

#include <ostream>

#include <gmock/gmock.h>

#include "vdi/base/status.h"

namespace capstan {

inline void PrintTo(const Status& status, std::ostream* out) {
  *out << status.ToString();
}
template <typename T>
void PrintTo(const Result<T>& result, std::ostream* out) {
  *out << result.status().ToString();
}

namespace test {

inline Status StatusOf(const Status& status) {
  return status;
}
template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}
MATCHER_P(HasCode, code, "") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code;
}
MATCHER_P(HasReason, reason, "") {
  *result_listener << StatusOf(arg).ToString() << " with reason " << StatusOf(arg).reason();
  return StatusOf(arg).reason() == reason;
}
MATCHER_P(MessageHas, text, "") {
  const Status status = StatusOf(arg);
  *result_listener << status.ToString();
  return status.message().find(text) != std::string_view::npos;
}

}  // namespace test
}  // namespace capstan
