#include "plugins/disk/medium_path.h"

#include <climits>

#include <gmock/gmock.h>

namespace capstan::disk {
namespace {

TEST(MediumPath, PartialBelongsToItsLeafOnly) {
  const std::string partial = PartialName("a.b", "T-1");

  EXPECT_EQ(partial, ".a.b.T-1.capstan-partial");
  EXPECT_TRUE(IsPartialOf(partial, "a.b"));
  EXPECT_FALSE(IsPartialOf(partial, "a"));
  EXPECT_FALSE(IsPartialOf(partial, "b"));
  EXPECT_FALSE(IsPartialOf(".a.b..capstan-partial", "a.b"));
  EXPECT_FALSE(IsPartialOf(".a.b.T-1.capstan-partia", "a.b"));
  EXPECT_FALSE(IsPartialOf("", "a"));
}

TEST(MediumPath, PartialOfALongLeafFitsAndStaysItsOwn) {
  const std::string leaf(NAME_MAX, 'x');
  std::string other = leaf;
  other.back() = 'y';
  const std::string token(64, 't');

  EXPECT_LE(PartialName(leaf, token).size(), static_cast<std::size_t>(NAME_MAX));
  EXPECT_TRUE(IsPartialOf(PartialName(leaf, "short"), leaf));
  EXPECT_TRUE(IsPartialOf(PartialName(leaf, token), leaf));
  EXPECT_FALSE(IsPartialOf(PartialName(other, token), leaf));
}

TEST(MediumPath, TokensAreLettersDigitsAndDashes) {
  EXPECT_TRUE(IsToken("6F9619FF-8B86"));
  EXPECT_FALSE(IsToken(""));
  EXPECT_FALSE(IsToken("a.b"));
  EXPECT_FALSE(IsToken("a/b"));
  EXPECT_FALSE(IsToken(std::string(65, 'a')));
}

TEST(MediumPath, ResolvesAgainstTheCanonicalDirectory) {
  MediumPath path;

  ASSERT_FALSE(MediumPath::Resolve("/proc/../usr/./x.bak", &path).failed());

  EXPECT_EQ(path.directory, "/usr");
  EXPECT_EQ(path.path, "/usr/x.bak");
  ASSERT_FALSE(MediumPath::Resolve("/x.bak", &path).failed());
  EXPECT_EQ(path.path, "/x.bak");
}

}  // namespace
}  // namespace capstan::disk
