#include "server/writers/postgres/cluster_manifest.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::IsOk;

ClusterManifest Sample() {
  return {.stop_lsn = 0x3000060,
          .timeline = 2,
          .directories = {{.place = 0, .mode = 0700, .path = "base"},
                          {.place = 1, .mode = 0750, .path = "PG_15_202209061"}},
          .files = {{.place = 0, .mode = 0600, .path = "PG_VERSION", .size_bytes = 3},
                    {.place = 1, .mode = 0640, .path = "PG_15_202209061/5/1", .size_bytes = 8192}},
          .vanished = {{.place = 0, .path = "base/5/t3_1"}}};
}

TEST(ClusterManifest, ComesBackAsItWentIn) {
  const auto manifest = DecodeManifest(EncodeManifest(Sample()));

  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->stop_lsn, 0x3000060U);
  EXPECT_EQ(manifest->timeline, 2U);
  ASSERT_EQ(manifest->directories.size(), 2U);
  EXPECT_EQ(manifest->directories[1].mode, 0750);
  ASSERT_EQ(manifest->files.size(), 2U);
  EXPECT_EQ(manifest->files[1].place, 1U);
  EXPECT_EQ(manifest->files[1].path, "PG_15_202209061/5/1");
  EXPECT_EQ(manifest->files[1].size_bytes, 8192U);
  ASSERT_EQ(manifest->vanished.size(), 1U);
  EXPECT_EQ(manifest->vanished[0].path, "base/5/t3_1");
}

TEST(ClusterManifest, IsRefusedWhenItIsCutOrLengthened) {
  std::vector<std::byte> bytes = EncodeManifest(Sample());

  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(DecodeManifest(std::span(bytes).first(size)), HasCode(Code::kDataLoss)) << size;
  }
  bytes.push_back(std::byte{0});
  EXPECT_THAT(DecodeManifest(bytes), HasCode(Code::kDataLoss));
}

TEST(ClusterManifest, IsRefusedWithAPathThatLeadsElsewhere) {
  ClusterManifest manifest = Sample();
  manifest.files[0].path = "../passwd";

  EXPECT_THAT(DecodeManifest(EncodeManifest(manifest)), HasCode(Code::kDataLoss));
}

}  // namespace
}  // namespace capstan::writers
