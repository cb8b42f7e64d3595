// What of an interrupted backup is kept, and what comes then: with files that look like a cluster's
// and change in between. Real clusters: tests/conformance/postgres.
#include "server/writers/postgres/kept_files.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/postgres/extent_plan.h"
#include "server/writers/postgres/file_feed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/server/writers/postgres/data_pages.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::IsOk;
using test_pages::kPageBytes;
using test_pages::MakePage;
using Kind = BundleEntry::Kind;
using Range = ByteRanges::Range;

namespace fs = std::filesystem;

constexpr Lsn kOld{0x2000000};
constexpr Lsn kStart{0x3000000};
const std::string kBig = "base/5/16384";
const std::string kSmall = "base/5/1259";
const std::string kEmpty = "base/5/16385";
const std::string kConfig = "postgresql.conf";
constexpr std::uint64_t kBigPages = 40;

struct Bundle {
  Extent extent;
  std::vector<std::byte> bytes;
};

class KeptFilesTest : public testing::Test {
 protected:
  KeptFilesTest() {
    Put(kBig, PagesOf(kBigPages));
    Put(kSmall, PagesOf(2));
    Put(kEmpty, {});
    Put("base/5/PG_VERSION", std::vector<std::byte>(3, std::byte{'1'}));
    Put(kConfig, std::vector<std::byte>(100, std::byte{'c'}));
    Put("pg_xact/0000", std::vector<std::byte>(3 * kPageBytes, std::byte{'x'}));
    Put("global/pg_control", std::vector<std::byte>(kPageBytes));
    Put("backup_label", std::vector<std::byte>(10));
    Put("pg_wal/000000010000000000000003", std::vector<std::byte>(100));
    Put("t/PG_15_1/5/16390", PagesOf(4));
    List();
  }

  // What a session does at its beginning.
  void List() {
    places_.clear();
    folders_.clear();
    auto data = OpenClusterRoot(folder_.path());
    ASSERT_THAT(data, IsOk());
    data->not_folders = {"t"};
    places_.push_back(*std::move(data));
    auto place = OpenClusterRoot(folder_.Under("t"));
    ASSERT_THAT(place, IsOk());
    place->tablespace_oid = 16380;
    place->only_folder = "PG_15_1";
    places_.push_back(*std::move(place));
    for (const ClusterRoot& root : places_) {
      auto folders = ListClusterFolders(root);
      ASSERT_THAT(folders, IsOk());
      folders_.push_back(*std::move(folders));
    }
    kept_ = MakeKept(nullptr);
  }
  std::unique_ptr<KeptFiles> MakeKept(const PageVerifier* verifier) const {
    return std::make_unique<KeptFiles>(KeptFiles::Options{.places = &places_,
                                                          .folders = &folders_,
                                                          .verifier = verifier,
                                                          .relation_segment_blocks = 131072});
  }

  static std::vector<std::byte> PagesOf(std::uint64_t count) {
    std::vector<std::byte> bytes;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::vector<std::byte> page =
          MakePage({kOld.value + i}, i, static_cast<std::byte>(i + 1));
      bytes.insert(bytes.end(), page.begin(), page.end());
    }
    return bytes;
  }
  void Put(const std::string& path, const std::vector<std::byte>& bytes) const {
    fs::create_directories(fs::path(folder_.Under(path)).parent_path());
    std::ofstream(folder_.Under(path), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    ::chmod(folder_.Under(path).c_str(), 0600);
  }
  std::vector<std::byte> Get(const std::string& path) const {
    std::ifstream file(folder_.Under(path), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
  }
  // One byte is another one afterwards.
  void Change(const std::string& path, std::uint64_t at) const {
    std::vector<std::byte> bytes = Get(path);
    bytes.at(at) ^= std::byte{1};
    Put(path, bytes);
  }

  // As the interrupted backup has made it of the files as they are now, behind the one before.
  Bundle Make(const std::vector<BundleEntry>& entries, std::uint32_t place = 0) {
    BundleBuilder builder(1 << 20);
    Bundle bundle;
    for (const BundleEntry& entry : entries) {
      builder.Add(entry);
      if (entry.payload_length() != 0) {
        const auto all = Get(place == 0 ? entry.path : "t/" + entry.path);
        const auto part = std::span(all).subspan(entry.offset, entry.length);
        bundle.bytes.insert(bundle.bytes.end(), part.begin(), part.end());
      }
    }
    const std::vector<std::byte> directory = builder.TakeDirectory();
    bundle.bytes.insert(bundle.bytes.end(), directory.begin(), directory.end());
    return At(std::move(bundle.bytes), place);
  }
  Bundle At(std::vector<std::byte> bytes, std::uint32_t place = 0) {
    const Extent extent{
        .file_index = place, .offset = end_, .length = static_cast<std::uint32_t>(bytes.size())};
    end_ += bytes.size();
    return {.extent = extent, .bytes = std::move(bytes)};
  }
  static BundleEntry Pages(const std::string& path, std::uint64_t first, std::uint64_t count) {
    return {.path = path, .offset = first * kPageBytes, .length = count * kPageBytes};
  }
  BundleEntry Whole(const std::string& path) const {
    return {.path = path, .length = fs::file_size(folder_.Under(path))};
  }
  bool Keeps(const Bundle& bundle) const {
    const auto kept = kept_->Keep(bundle.extent, bundle.bytes);
    EXPECT_THAT(kept, IsOk());
    return kept.ok() && *kept;
  }

  // What comes then: of each file, as ranges; "t/" in front of those of the tablespace.
  struct Rest {
    std::map<std::string, std::vector<Range>> ranges;
    ClusterManifest manifest;

    std::uint64_t SizeOf(const std::string& path) const {
      const auto found = std::ranges::find(manifest.files, path, &ClusterManifest::File::path);
      EXPECT_NE(found, manifest.files.end()) << path;
      return found->size_bytes;
    }
  };
  Rest Feed() {
    kept_->Seal();
    FileFeed::Options options{.kept = kept_.get()};
    for (std::uint32_t i = 0; i < places_.size(); ++i) {
      options.sources.push_back({.place_index = i, .place = &places_[i], .folders = &folders_[i]});
    }
    auto feed = FileFeed::Start(std::move(options));
    EXPECT_THAT(feed, IsOk());
    Rest rest;
    while (true) {
      auto stretch = (*feed)->Next();
      EXPECT_THAT(stretch, IsOk());
      if (!stretch.ok() || !*stretch) {
        break;
      }
      const BackupFile& file = *(*stretch)->file;
      rest.ranges[(file.place == 0 ? "" : "t/") + file.path].push_back(
          {(*stretch)->offset, (*stretch)->offset + (*stretch)->length});
    }
    rest.manifest = (*feed)->TakeManifest();
    return rest;
  }

  test::TemporaryDirectory folder_;
  std::vector<ClusterRoot> places_;
  std::vector<std::vector<ClusterFolder>> folders_;
  std::unique_ptr<KeptFiles> kept_;
  std::uint64_t end_ = 0;
};

TEST_F(KeptFilesTest, AreAllIfNothingHasChanged) {
  EXPECT_TRUE(Keeps(Make({Pages(kBig, 7, 33)})));
  EXPECT_TRUE(Keeps(Make({Whole("pg_xact/0000"),
                          Whole(kConfig),
                          Whole("base/5/PG_VERSION"),
                          Whole(kSmall),
                          {.path = kEmpty},
                          Pages(kBig, 0, 7)})));
  EXPECT_TRUE(Keeps(Make({Pages("PG_15_1/5/16390", 0, 4)}, 1)));

  const Rest rest = Feed();

  EXPECT_TRUE(rest.ranges.empty()) << rest.ranges.begin()->first;
  EXPECT_EQ(rest.manifest.files.size(), 7U);
  EXPECT_EQ(rest.SizeOf(kBig), kBigPages * kPageBytes);
  EXPECT_EQ(rest.SizeOf(kConfig), 100U);
  EXPECT_EQ(rest.SizeOf(kEmpty), 0U);
  EXPECT_EQ(rest.manifest.files.front().mode, 0600);
  EXPECT_TRUE(rest.manifest.vanished.empty());
}

TEST_F(KeptFilesTest, ComeIfNothingIsKept) {
  const Rest rest = Feed();

  EXPECT_EQ(rest.ranges.size(), 7U);
  EXPECT_EQ(rest.ranges.at(kBig), (std::vector<Range>{{0, kBigPages * kPageBytes}}));
  EXPECT_EQ(rest.ranges.at(kEmpty), (std::vector<Range>{{0, 0}}));
}

TEST_F(KeptFilesTest, OneWrongByteTakesTheBundleWithIt) {
  const std::vector<BundleEntry> entries = {Whole(kConfig), Pages(kSmall, 0, 2),
                                            Pages(kBig, 0, 40)};
  for (const auto& [path, at] : std::vector<std::pair<std::string, std::uint64_t>>{
           {kConfig, 99}, {kSmall, 0}, {kBig, 40 * kPageBytes - 1}, {kBig, 300'000}}) {
    const Bundle bundle = Make(entries);
    Change(path, at);
    EXPECT_FALSE(Keeps(bundle)) << path << " " << at;
    Change(path, at);
  }
  EXPECT_TRUE(Keeps(Make(entries))) << "of what was not kept nothing is remembered";
}

TEST_F(KeptFilesTest, TheRestOfAFileComesAtItsOffsets) {
  EXPECT_TRUE(Keeps(Make({Pages(kBig, 30, 2)})));
  EXPECT_TRUE(Keeps(Make({Pages(kBig, 10, 5), Pages(kBig, 15, 5)})));
  EXPECT_TRUE(Keeps(Make({{.path = kBig, .offset = 100, .length = 1000}}))) << "any bytes";

  const Rest rest = Feed();

  EXPECT_EQ(rest.ranges.at(kBig), (std::vector<Range>{{0, 100},
                                                      {1100, 10 * kPageBytes},
                                                      {20 * kPageBytes, 30 * kPageBytes},
                                                      {32 * kPageBytes, 40 * kPageBytes}}));
  EXPECT_EQ(rest.SizeOf(kBig), kBigPages * kPageBytes);
}

TEST_F(KeptFilesTest, ARangeIsKeptOnce) {
  const Bundle first = Make({Pages(kBig, 0, 10), {.path = kEmpty}, Whole(kConfig)});
  EXPECT_TRUE(Keeps(first));

  EXPECT_FALSE(Keeps(first));
  EXPECT_FALSE(Keeps(Make({Pages(kBig, 9, 10)})));
  EXPECT_FALSE(Keeps(Make({Pages(kSmall, 0, 2), Pages(kBig, 0, 1)})));
  EXPECT_FALSE(Keeps(Make({{.path = kEmpty}})));
  EXPECT_FALSE(Keeps(Make({Whole(kConfig)})));
  EXPECT_FALSE(Keeps(Make({Pages(kSmall, 0, 1), Pages(kSmall, 0, 2)}))) << "within one";
  EXPECT_FALSE(Keeps(Make({Whole("pg_xact/0000"), Whole("pg_xact/0000")})));
  Bundle elsewhere = Make({Pages(kSmall, 0, 1)});
  elsewhere.extent.offset = first.extent.offset + 5;
  EXPECT_FALSE(Keeps(elsewhere)) << "another bundle that is kept stands there";
  elsewhere.extent.offset = first.extent.offset + first.extent.length;
  EXPECT_TRUE(Keeps(elsewhere));
  EXPECT_TRUE(Keeps(Make({Pages(kSmall, 1, 1), Pages(kBig, 10, 30)})));
}

TEST_F(KeptFilesTest, OfManyThreadsOneKeepsARange) {
  const Bundle bundle = Make({Pages(kBig, 0, 40), Pages(kSmall, 0, 2)});
  std::atomic<int> kept_count = 0;
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        Bundle mine = bundle;
        mine.extent.offset += i * bundle.extent.length;
        kept_count += Keeps(mine) ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(kept_count, 1);
}

TEST_F(KeptFilesTest, WhatIsNotAsTheBackupWouldMakeItIsNotKept) {
  EXPECT_FALSE(Keeps(Make({{.mode = 0640, .path = kSmall, .length = kPageBytes}})));
  EXPECT_FALSE(Keeps(Make({Whole("backup_label")})));
  EXPECT_FALSE(Keeps(Make({Whole("global/pg_control")})));
  EXPECT_FALSE(Keeps(Make({Whole("pg_wal/000000010000000000000003")})));
  EXPECT_FALSE(Keeps(Make({Whole("t/PG_15_1/5/16390")}))) << "it is in another place";
  EXPECT_FALSE(Keeps(Make({{.path = kSmall}}))) << "it is not empty";
  Bundle elsewhere = Make({Pages(kSmall, 0, 2)});
  for (const std::uint32_t place : {1U, 2U, 3U, ~0U}) {
    elsewhere.extent.file_index = place;
    EXPECT_FALSE(Keeps(elsewhere)) << place;
  }
  elsewhere.extent.file_index = 0;
  elsewhere.extent.offset = ~std::uint64_t{0} - 5;
  EXPECT_FALSE(Keeps(elsewhere));
  BundleBuilder manifest(1 << 20);
  manifest.Add({.kind = Kind::kManifest, .path = "", .length = 4});
  std::vector<std::byte> bytes(4);
  std::ranges::copy(manifest.TakeDirectory(), std::back_inserter(bytes));
  EXPECT_FALSE(Keeps(At(std::move(bytes))));
}

TEST_F(KeptFilesTest, ZerosAreWhatIsZero) {
  std::vector<std::byte> bytes = PagesOf(10);
  std::fill_n(bytes.begin() + 2 * kPageBytes, 6 * kPageBytes, std::byte{0});
  Put(kSmall, bytes);
  const auto zeros = [](std::uint64_t first, std::uint64_t count) {
    BundleEntry entry = Pages(kSmall, first, count);
    entry.kind = Kind::kZeros;
    return entry;
  };

  EXPECT_TRUE(Keeps(Make({zeros(2, 5)})));
  EXPECT_FALSE(Keeps(Make({zeros(7, 2)})));
  EXPECT_FALSE(Keeps(Make({zeros(9, 2)}))) << "behind its end there are none";
}

TEST_F(KeptFilesTest, AFileThatIsNoRelationIsKeptAsAWholeAndAsItWas) {
  EXPECT_FALSE(Keeps(Make({Pages("pg_xact/0000", 0, 2)})));
  EXPECT_FALSE(Keeps(Make({Pages("pg_xact/0000", 1, 2)})));
  EXPECT_TRUE(Keeps(Make({Whole("pg_xact/0000"), Whole(kConfig)})));
  // Another file takes its place, and one goes: both were read before.
  Put(kConfig + ".new", std::vector<std::byte>(500, std::byte{'d'}));
  fs::rename(folder_.Under(kConfig + ".new"), folder_.Under(kConfig));
  fs::remove(folder_.Under("pg_xact/0000"));

  const Rest rest = Feed();

  EXPECT_FALSE(rest.ranges.contains(kConfig));
  EXPECT_FALSE(rest.ranges.contains("pg_xact/0000"));
  EXPECT_EQ(rest.SizeOf(kConfig), 100U);
  EXPECT_EQ(rest.SizeOf("pg_xact/0000"), 3 * kPageBytes);
  EXPECT_TRUE(rest.manifest.vanished.empty());
}

TEST_F(KeptFilesTest, FilesThatChangedInSizeBefore) {
  const Bundle grown = Make({Pages(kSmall, 0, 2)});
  const Bundle cut = Make({Pages(kBig, 30, 10)});
  const Bundle gone = Make({Pages("PG_15_1/5/16390", 0, 4)}, 1);
  const Bundle filled = Make({{.path = kEmpty}});
  Put(kSmall, PagesOf(5));
  Put(kBig, PagesOf(35));
  Put(kEmpty, PagesOf(1));
  fs::remove(folder_.Under("t/PG_15_1/5/16390"));

  EXPECT_TRUE(Keeps(grown));
  EXPECT_FALSE(Keeps(cut));
  EXPECT_FALSE(Keeps(gone));
  EXPECT_FALSE(Keeps(filled));

  const Rest rest = Feed();
  EXPECT_EQ(rest.ranges.at(kSmall), (std::vector<Range>{{2 * kPageBytes, 5 * kPageBytes}}));
  EXPECT_EQ(rest.SizeOf(kSmall), 5 * kPageBytes);
  EXPECT_EQ(rest.ranges.at(kBig), (std::vector<Range>{{0, 35 * kPageBytes}}));
  ASSERT_EQ(rest.manifest.vanished.size(), 1U);
}

TEST_F(KeptFilesTest, FilesThatChangeInSizeAfterwards) {
  EXPECT_TRUE(Keeps(Make({Pages(kSmall, 0, 2), {.path = kEmpty}})));
  EXPECT_TRUE(Keeps(Make({Pages(kBig, 10, 20)})));
  EXPECT_TRUE(Keeps(Make({Pages("PG_15_1/5/16390", 0, 4)}, 1)));
  Put(kSmall, {});
  Put(kEmpty, PagesOf(2));
  Put(kBig, PagesOf(20));
  fs::remove(folder_.Under("t/PG_15_1/5/16390"));

  const Rest rest = Feed();

  EXPECT_FALSE(rest.ranges.contains(kSmall));
  EXPECT_EQ(rest.SizeOf(kSmall), 0U) << "a restore cuts off what was kept";
  EXPECT_EQ(rest.ranges.at(kEmpty), (std::vector<Range>{{0, 2 * kPageBytes}}));
  EXPECT_EQ(rest.ranges.at(kBig), (std::vector<Range>{{0, 10 * kPageBytes}}));
  EXPECT_EQ(rest.SizeOf(kBig), 20 * kPageBytes);
  ASSERT_EQ(rest.manifest.vanished.size(), 1U);
  EXPECT_EQ(rest.manifest.vanished[0].path, "PG_15_1/5/16390");
}

TEST_F(KeptFilesTest, AFileThatCameInBetweenComes) {
  const Bundle bundle = Make({Pages(kBig, 0, 40)});
  Put("base/5/16400", PagesOf(1));
  List();

  EXPECT_TRUE(Keeps(bundle));

  const Rest rest = Feed();
  EXPECT_TRUE(rest.ranges.contains("base/5/16400"));
}

// A page that is not right is read again by who reads, and told of there: once.
TEST_F(KeptFilesTest, PagesThatAreNotRightAreNotKept) {
  int told = 0;
  PageVerifier verifier({.page_bytes = kPageBytes,
                         .checksums = true,
                         .start = kStart,
                         .on_page_error = [&told](const PageError&) {
                           ++told;
                           return OkStatus();
                         }});
  kept_ = MakeKept(&verifier);
  Change(kBig, 20 * kPageBytes + 5000);

  EXPECT_FALSE(Keeps(Make({Pages(kBig, 15, 10)})));
  EXPECT_FALSE(
      Keeps(Make({Pages(kSmall, 0, 1),
                  {.path = kBig, .offset = 20 * kPageBytes + 6000, .length = kPageBytes}})))
      << "of which the end is kept";
  EXPECT_TRUE(Keeps(Make({Pages(kBig, 0, 20), Whole("pg_xact/0000")})));
  EXPECT_TRUE(Keeps(Make({Pages(kBig, 21, 19)})));
  EXPECT_EQ(told, 0);
}

TEST_F(KeptFilesTest, ErrorsOfReadingAreErrors) {
  const Bundle bundle = Make({Pages(kSmall, 0, 2)});
  fs::remove(folder_.Under(kSmall));
  fs::create_symlink(folder_.Under(kBig), folder_.Under(kSmall));

  EXPECT_FALSE(kept_->Keep(bundle.extent, bundle.bytes).ok()) << "links are not followed";

  fs::remove_all(folder_.Under("base"));
  EXPECT_FALSE(Keeps(bundle)) << "its folder has gone";
  std::ofstream(folder_.Under("base")) << "x";
  EXPECT_FALSE(kept_->Keep(bundle.extent, bundle.bytes).ok());
}

TEST_F(KeptFilesTest, NothingIsKeptOnceExtentsAreRead) {
  const Bundle bundle = Make({Pages(kSmall, 0, 2)});
  kept_->Seal();

  EXPECT_THAT(kept_->Keep(bundle.extent, bundle.bytes), HasCode(Code::kFailedPrecondition));
}

// Garbage, and bundles of which bytes are others: what is kept all the same is what is in the
// files, each byte of it once.
TEST_F(KeptFilesTest, AnyBytesWhateverDoNoHarm) {
  std::minstd_rand random(11);
  const auto choose = [&random](std::size_t count) { return random() % count; };
  Put("base/5/1258", PagesOf(2));  // as the other: a path with another bit leads to the same bytes
  List();
  const std::vector<std::byte> good =
      Make({Whole(kConfig), Pages(kSmall, 0, 1), {.path = kEmpty}, Pages(kSmall, 1, 1)}).bytes;
  int kept_count = 0;
  for (int round = 0; round < 4000; ++round) {
    kept_ = MakeKept(nullptr);
    std::vector<std::byte> bytes = good;
    switch (choose(4)) {
      case 0:  // any length of noise
        bytes.resize(choose(300));
        std::ranges::generate(bytes, [&] { return static_cast<std::byte>(choose(256)); });
        break;
      case 1:
        bytes.resize(choose(bytes.size()));
        break;
      case 2:
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(choose(100) + 1));
        break;
      default:  // in the directory, and the footer
        for (std::size_t i = choose(3) + 1; i-- > 0;) {
          std::byte& byte = bytes[bytes.size() - 1 - choose(180)];
          byte = choose(2) == 0 ? static_cast<std::byte>(choose(256))
                                : byte ^ static_cast<std::byte>(1U << choose(8));
        }
    }
    const Bundle bundle = At(bytes);
    if (!Keeps(bundle)) {
      continue;
    }
    ++kept_count;
    const auto parts = DecodeBundle(bytes);
    ASSERT_THAT(parts, IsOk());
    std::map<std::string, ByteRanges> seen;
    for (const BundlePart& part : *parts) {
      const std::vector<std::byte> there = Get(part.entry.path);
      ASSERT_LE(part.entry.offset + part.entry.length, there.size());
      ASSERT_EQ(part.entry.mode, 0600);
      const auto range = std::span(there).subspan(part.entry.offset, part.entry.length);
      ASSERT_TRUE(part.entry.kind == Kind::kZeros ||
                  std::equal(range.begin(), range.end(), part.bytes.begin(), part.bytes.end()));
      if (part.entry.length != 0) {
        ASSERT_TRUE(
            seen[part.entry.path].Add({part.entry.offset, part.entry.offset + part.entry.length}));
      }
    }
  }
  EXPECT_GT(kept_count, 0);
}

}  // namespace
}  // namespace capstan::writers
