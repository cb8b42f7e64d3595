// What the S3 plugin promises beside the suite: retention, recovery and sweeping of uploads, TLS
// and the two styles of addressing. Run by tests/support/s3/memory_server.py.
#include <chrono>
#include <ctime>
#include <deque>
#include <fstream>

#include <gmock/gmock.h>

#include "tests/conformance/s3/s3_place.h"
#include "tests/support/media_request.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/plugins/s3/s3_fixture.h"

namespace capstan::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kBlock = 65536;
constexpr std::int64_t kDay = 86'400;  // seconds

class S3Rules : public testing::Test {
 protected:
  void SetUp() override {
    const char* const port = std::getenv("CAPSTAN_S3_TEST_PORT");
    if (port == nullptr) {
      GTEST_SKIP() << "run me with tests/support/s3/memory_server.py";
    }
    port_ = port;
    Configure("endpoint = \"http://127.0.0.1:" + port_ + "\"\naddressing = \"path\"\n");
  }

  void Configure(const std::string& lines) { std::ofstream(directory_.Under("s3.toml")) << lines; }
  void ConfigurePath(const std::string& lines) {
    Configure("endpoint = \"http://127.0.0.1:" + port_ + "\"\naddressing = \"path\"\n" + lines);
  }

  static Result<std::unique_ptr<agent::MediaDevice>> Open(S3Place& place, capstan_open_mode mode,
                                                          const std::string& token,
                                                          std::int64_t retain_until_unix_s = 0) {
    return place.plugin().Open({.mode = mode,
                                .target = place.TargetOf("medium.bak"),
                                .token = token,
                                .retain_until_unix_s = retain_until_unix_s});
  }

  // Writes one block behind what is there.
  static Status Write(S3Place& place, capstan_open_mode mode, const std::string& token,
                      std::int64_t retain_until_unix_s = 0) {
    const MediaBuffer buffer(kBlock, 1);
    auto opened = Open(place, mode, token, retain_until_unix_s);
    if (!opened.ok()) {
      return opened.status();
    }
    const auto begin = mode == CAPSTAN_OPEN_APPEND
                           ? place.plugin().Stat(place.TargetOf("medium.bak")).value().size
                           : 0;
    auto& device = **opened;
    EXPECT_EQ(WriteBytes(device, static_cast<std::int64_t>(begin), buffer.bytes()), 0U);
    EXPECT_EQ(RunRequest(device, CAPSTAN_OP_FLUSH), 0U);
    EXPECT_EQ(RunRequest(device, CAPSTAN_OP_COMPLETE), 0U);
    return device.Close(CAPSTAN_OUTCOME_DONE);
  }

  // As a writer that died: its note, and an upload to the medium's own key.
  static std::string LeaveUpload(S3Place& place, const std::string& token, bool with_id,
                                 const std::string& owner = "elsewhere/boot/1/1") {
    const auto store = place.Store();
    std::string id;
    EXPECT_EQ(store->CreateUpload(place.Url().key, {}, &id).message, "");
    const s3::WriteNote note{.key = place.Url().key,
                             .token = token,
                             .owner = owner,
                             .uploads = {{.key = place.Url().key, .id = with_id ? id : ""}}};
    EXPECT_EQ(store->Put(s3::NoteKey(place.Url(), token), s3::EncodeNote(note)).message, "");
    return id;
  }

  std::string port_;
  TemporaryDirectory directory_;
  Environment environment_{{{"CAPSTAN_S3_CONFIG", directory_.Under("s3.toml")}}};
};

TEST_F(S3Rules, RetentionLocksWhatIsWritten) {
  for (const auto& [bucket, mode] :
       {std::pair("locked", "compliance"), std::pair("locked-later", "governance")}) {
    ConfigurePath("object_lock = \"" + std::string(mode) + "\"\n");
    S3Place place(bucket);
    const std::int64_t until = std::time(nullptr) + 7 * kDay;
    ASSERT_THAT(Write(place, CAPSTAN_OPEN_REPLACE, "t1", until), IsOk());

    s3::ObjectInfo info;
    ASSERT_EQ(place.Store()->Head(place.Url().key, &info).message, "");
    EXPECT_EQ(info.lock_mode, mode == std::string("compliance") ? "COMPLIANCE" : "GOVERNANCE");
    EXPECT_EQ(info.locked_until_unix_s, until);
    // Neither replaced nor removed, but appended to; what is appended is locked, too.
    const Status replaced = Write(place, CAPSTAN_OPEN_REPLACE, "t2", until);
    EXPECT_THAT(replaced, MessageHas("is locked until"));
    EXPECT_THAT(std::string(replaced.hint()), HasSubstr("append to it"));
    EXPECT_THAT(place.plugin().Remove(place.TargetOf("medium.bak")), MessageHas("is locked until"));
    EXPECT_THAT(Write(place, CAPSTAN_OPEN_APPEND, "t3", until), IsOk());
    s3::Medium medium;
    ASSERT_EQ(s3::ReadMedium(*place.Store(), place.Url(), &medium).message, "");
    ASSERT_EQ(medium.objects.size(), 2U);
    ASSERT_EQ(place.Store()->Head(medium.objects[1].key, &info).message, "");
    EXPECT_EQ(info.locked_until_unix_s, until);
    EXPECT_EQ(place.LeftOverCount(), 0U);
  }
}

// Whatever the engine asks for after a crash is locked, too.
TEST_F(S3Rules, RecoveryLocksWhatItCompletes) {
  ConfigurePath("object_lock = \"governance\"\n");
  S3Place place("locked-later");
  const std::int64_t until = std::time(nullptr) + 7 * kDay;
  const MediaBuffer buffer(kBlock, 1);
  auto device = std::move(Open(place, CAPSTAN_OPEN_REPLACE, "t1", until)).value();
  ASSERT_EQ(WriteBytes(*device, 0, buffer.bytes()), 0U);
  ASSERT_EQ(RunRequest(*device, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_THAT(device->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  ASSERT_THAT(place.plugin().Recover(place.TargetOf("medium.bak"), "t1", CAPSTAN_RECOVER_COMMIT),
              IsOk());

  s3::ObjectInfo info;
  ASSERT_EQ(place.Store()->Head(place.Url().key, &info).message, "");
  EXPECT_EQ(info.locked_until_unix_s, until);
}

TEST_F(S3Rules, RetentionIsRefusedWhereNothingCanBeLocked) {
  const std::int64_t until = std::time(nullptr) + kDay;
  S3Place place("media");
  ConfigurePath("object_lock = \"compliance\"\n");

  const Status refused = Write(place, CAPSTAN_OPEN_REPLACE, "t1", until);

  EXPECT_THAT(refused, MessageHas("bucket 'media' cannot lock what is put into it"));
  EXPECT_THAT(std::string(refused.hint()), HasSubstr("created with object lock"));
  EXPECT_EQ(place.LeftOverCount(), 0U);
  // Without a wish nothing has to be locked, and where it is off the wish is the engine's alone.
  EXPECT_THAT(Write(place, CAPSTAN_OPEN_REPLACE, "t2"), IsOk());
  ConfigurePath("object_lock = \"off\"\n");
  EXPECT_THAT(Write(place, CAPSTAN_OPEN_REPLACE, "t3", until), IsOk());
}

TEST_F(S3Rules, RecoveryAbortsItsOwnUploadsAlone) {
  S3Place place("media");
  const std::string mine = LeaveUpload(place, "mine", true);
  const std::string noted = LeaveUpload(place, "noted", true);

  ASSERT_THAT(place.plugin().Recover(place.TargetOf("medium.bak"), "mine", CAPSTAN_RECOVER_DISCARD),
              IsOk());

  EXPECT_THAT(place.Uploads(), ElementsAre(noted));
}

// It died between the begin of its upload and the note of its id.
TEST_F(S3Rules, UploadWithoutNotedIdIsToldFromOthers) {
  S3Place place("media");
  const std::string lost = LeaveUpload(place, "lost", false);
  const std::string noted = LeaveUpload(place, "noted", true);
  const std::string target = place.TargetOf("medium.bak");

  ASSERT_THAT(place.plugin().Recover(target, "lost", CAPSTAN_RECOVER_DISCARD), IsOk());

  EXPECT_THAT(place.Uploads(), ElementsAre(noted));
  // Somebody is just beginning: nobody can tell whose the upload is, for a moment.
  LeaveUpload(place, "lost", false);
  LeaveUpload(place, "beginner", false);
  EXPECT_THAT(place.plugin().Recover(target, "lost", CAPSTAN_RECOVER_DISCARD),
              HasCode(Code::kUnavailable));
  EXPECT_EQ(place.Uploads().size(), 3U);
}

TEST_F(S3Rules, AbandonedWritingsOfTheFolderAreSwept) {
  S3Place place("media");
  LeaveUpload(place, "orphan", true);
  const auto write_another = [&] {
    auto device = place.plugin().Open(
        {.mode = CAPSTAN_OPEN_REPLACE, .target = place.TargetOf("another.bak"), .token = "other"});
    ASSERT_THAT(device, IsOk());
    ASSERT_EQ(RunRequest(**device, CAPSTAN_OP_COMPLETE), 0U);
    ASSERT_THAT((*device)->Close(CAPSTAN_OUTCOME_DONE), IsOk());
  };

  write_another();
  EXPECT_EQ(place.Uploads().size(), 1U) << "it may still be written";
  ConfigurePath("abandoned_after_h = 0\n");
  write_another();

  EXPECT_THAT(place.Uploads(), IsEmpty());
  EXPECT_EQ(place.LeftOverCount(), 0U);
}

// S3-01: longer than a listing of what one remembers in memory; in order and by index.
TEST_F(S3Rules, LongMediumComesBack) {
  constexpr std::size_t kTransfer = 1U << 20;
  constexpr std::size_t kCount = 160;
  S3Place place("media");
  std::deque<MediaBuffer> buffers;
  for (unsigned seed = 0; seed < 4; ++seed) {
    buffers.emplace_back(kTransfer, seed);
  }
  auto writer = std::move(Open(place, CAPSTAN_OPEN_REPLACE, "t1")).value();
  for (std::size_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(WriteBytes(*writer, static_cast<std::int64_t>(i * kTransfer),
                         buffers[i % buffers.size()].bytes()),
              0U);
  }
  ASSERT_EQ(RunRequest(*writer, CAPSTAN_OP_FLUSH), 0U);
  ASSERT_EQ(RunRequest(*writer, CAPSTAN_OP_COMPLETE), 0U);
  ASSERT_THAT(writer->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  auto reader = std::move(Open(place, CAPSTAN_OPEN_READ, "")).value();
  const MediaBuffer read(kTransfer);
  const auto same = [&](std::size_t i) {
    MediaRequest request;
    EXPECT_THAT(
        request.Read(*reader, static_cast<std::int64_t>(i * kTransfer), {read.data(), read.size()}),
        IsOk());
    return request.Wait().completion_code == 0U &&
           std::memcmp(read.data(), buffers[i % buffers.size()].data(), kTransfer) == 0;
  };
  for (std::size_t i = 0; i < kCount; ++i) {
    ASSERT_TRUE(same(i)) << i;
  }
  for (const std::size_t i : {std::size_t{150}, std::size_t{3}, kCount - 1}) {
    EXPECT_TRUE(same(i)) << i;
  }
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_F(S3Rules, BucketsMayBeHosts) {
  Configure("endpoint = \"http://localhost:" + port_ + "\"\naddressing = \"virtual\"\n");
  S3Place place("media");

  EXPECT_THAT(Write(place, CAPSTAN_OPEN_CREATE, "t1"), IsOk());
  EXPECT_THAT(Write(place, CAPSTAN_OPEN_APPEND, "t2"), IsOk());
  ConfigurePath("");
  EXPECT_EQ(place.plugin().Stat(place.TargetOf("medium.bak")).value().size, 2 * kBlock);
}

TEST_F(S3Rules, CertificatesAreVerified) {
  const std::string endpoint =
      "endpoint = \"https://localhost:" + std::string(std::getenv("CAPSTAN_S3_TEST_TLS_PORT")) +
      "\"\naddressing = \"path\"\n";
  S3Place place("media");
  Configure(endpoint + "ca_file = \"" + std::getenv("CAPSTAN_S3_TEST_CA") + "\"\n");
  EXPECT_THAT(Write(place, CAPSTAN_OPEN_CREATE, "t1"), IsOk());

  Configure(endpoint);  // the system's authorities do not know it
  const auto begin = std::chrono::steady_clock::now();
  const Status refused = Write(place, CAPSTAN_OPEN_REPLACE, "t2");

  EXPECT_THAT(refused, MessageHas("certificate"));
  EXPECT_THAT(std::string(refused.hint()), HasSubstr("ca_file"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

}  // namespace
}  // namespace capstan::test
