#include "vdi/base/guid.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan {
namespace {

using test::HasCode;
using test::IsOk;

TEST(Guid, PrintsItsFirstThreeGroupsFromLittleEndian) {
  Guid guid;
  for (std::size_t i = 0; i < guid.bytes.size(); ++i) {
    guid.bytes[i] = static_cast<std::uint8_t>(i);
  }

  EXPECT_EQ(guid.ToString(), "03020100-0504-0706-0809-0A0B0C0D0E0F");
}

TEST(Guid, ParsesWhatItPrintsWithAndWithoutBraces) {
  const Guid guid = Guid::Random();

  const auto plain = Guid::Parse(guid.ToString());
  const auto braced = Guid::Parse("{" + guid.ToString() + "}");

  ASSERT_THAT(plain, IsOk());
  EXPECT_EQ(*plain, guid);
  ASSERT_THAT(braced, IsOk());
  EXPECT_EQ(*braced, guid);
}

TEST(Guid, RefusesWhatIsNotOne) {
  for (const char* text :
       {"", "x", "03020100-0504-0706-0809-0A0B0C0D0E0", "{}",
        "03020100_0504-0706-0809-0A0B0C0D0E0F", "0302010G-0504-0706-0809-0A0B0C0D0E0F"}) {
    EXPECT_THAT(Guid::Parse(text), HasCode(Code::kInvalidArgument)) << text;
  }
}

TEST(Guid, RandomOnesDiffer) {
  EXPECT_NE(Guid::Random(), Guid::Random());
}

}  // namespace
}  // namespace capstan
