#include "vdi/base/status.h"

#include <cerrno>
#include <memory>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan {
namespace {

using test::HasCode;
using test::IsOk;

TEST(Status, CarriesAnotherStateAndWhatIsSaidBefore) {
  const Status status = Error(Code::kUnavailable, "cannot open")
                            .WithState(7)
                            .WithEarlier(Error(Code::kUnavailable, "origin").WithReason(18210));
  const Status copy = status;

  EXPECT_EQ(copy.state(), 7);
  ASSERT_NE(copy.earlier(), nullptr);
  EXPECT_EQ(copy.earlier()->reason(), 18210);
  EXPECT_EQ(Error(Code::kUnknown, "plain").state(), 0);
  EXPECT_EQ(Error(Code::kUnknown, "plain").earlier(), nullptr);
  EXPECT_EQ(Error(Code::kUnknown, "after nothing").WithEarlier(OkStatus()).earlier(), nullptr);
}

TEST(Status, IsOkUntilToldOtherwise) {
  EXPECT_THAT(Status(), IsOk());
  EXPECT_EQ(Status().message(), "");
}

TEST(Status, KeepsEverythingWhenCopiedAndAnnotated) {
  const Status original = Error(Code::kNotFound, "no medium {}", 7)
                              .WithOsError(ENOENT)
                              .WithReason(3201)
                              .WithHint("look");

  const Status annotated = Annotate(original, "backup of 'sales'");

  EXPECT_EQ(annotated.message(), "backup of 'sales': no medium 7");
  EXPECT_EQ(annotated.code(), Code::kNotFound);
  EXPECT_EQ(annotated.os_error(), ENOENT);
  EXPECT_EQ(annotated.reason(), 3201);
  EXPECT_EQ(annotated.hint(), "look");
  EXPECT_EQ(original.message(), "no medium 7");
}

TEST(Status, TellsSpaceFromRightsFromAbsence) {
  EXPECT_THAT(OsError(ENOSPC, "x"), HasCode(Code::kResourceExhausted));
  EXPECT_THAT(OsError(EACCES, "x"), HasCode(Code::kPermissionDenied));
  EXPECT_THAT(OsError(ENOENT, "x"), HasCode(Code::kNotFound));
}

Result<std::unique_ptr<int>> Make(bool well) {
  if (!well) {
    return Error(Code::kInternal, "not well");
  }
  return std::make_unique<int>(5);
}

Result<int> Use(bool well) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::unique_ptr<int> made, Make(well));
  return *made + 1;
}

TEST(Result, CarriesAMoveOnlyValueOrTheReason) {
  ASSERT_THAT(Use(true), IsOk());
  EXPECT_EQ(*Use(true), 6);
  EXPECT_THAT(Use(false), HasCode(Code::kInternal));
}

}  // namespace
}  // namespace capstan
