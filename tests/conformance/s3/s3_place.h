// Where the tests of the S3 plugin put their media: a folder of its own in a bucket of the server
// that tests/support/s3/memory_server.py (or server.py) started.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include <unistd.h>

#include "agent/plugin_library.h"
#include "plugins/s3/medium.h"
#include "plugins/s3/object_store.h"
#include "plugins/s3/settling.h"
#include "tests/conformance/plugins/media_conformance.h"

namespace capstan::test {

class S3Place final : public MediaPlace {
 public:
  explicit S3Place(const std::string& bucket)
      : folder_("s3://" + bucket + "/test-" + std::to_string(::getpid()) + "-" +
                std::to_string(count_++) + "/"),
        plugin_(agent::LoadPlugin(CAPSTAN_S3_PLUGIN).value()) {}

  agent::MediaPlugin& plugin() override { return *plugin_; }
  std::string TargetOf(const std::string& name) override { return folder_ + name; }

  // Notes, and objects that are of no medium.
  std::size_t LeftOverCount() override {
    const s3::MediumUrl url = Url();
    const auto store = Store();
    std::vector<s3::ListedObject> notes;
    std::vector<s3::ListedObject> more;
    s3::Medium medium;
    EXPECT_FALSE(store->List(s3::NoteFolder(url), &notes, nullptr).failed());
    EXPECT_FALSE(store->List(s3::MorePrefix(url), &more, nullptr).failed());
    EXPECT_FALSE(s3::ReadMedium(*store, url, &medium).failed());
    EXPECT_LE(Uploads().size(), notes.size());
    const std::size_t reachable = medium.exists() ? medium.objects.size() - 1 : 0;
    return notes.size() + more.size() - reachable;
  }

  s3::MediumUrl Url(const std::string& name = "medium.bak") {
    s3::MediumUrl url;
    EXPECT_EQ(s3::MediumUrl::Parse(TargetOf(name), &url).message, "");
    return url;
  }

  // With the settings of this moment.
  std::unique_ptr<s3::ObjectStore> Store() {
    std::unique_ptr<s3::ObjectStore> store;
    EXPECT_EQ(s3::ObjectStore::Open(http_, Url(), &store).message, "");
    return store;
  }

  // Ids of the uploads to the medium that are not complete.
  std::vector<std::string> Uploads(const std::string& name = "medium.bak") {
    std::vector<s3::ListedUpload> uploads;
    EXPECT_EQ(Store()->ListUploads(Url(name).key, &uploads).message, "");
    std::vector<std::string> ids;
    for (const s3::ListedUpload& upload : uploads) {
      ids.push_back(upload.id);
    }
    return ids;
  }

 private:
  static inline std::atomic<int> count_{0};

  const std::string folder_;
  std::unique_ptr<agent::MediaPlugin> plugin_;
  s3::HttpClient http_;
};

}  // namespace capstan::test
