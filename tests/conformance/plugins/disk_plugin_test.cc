// The disk plugin, in every way it has to move bytes: with and without io_uring, around the page
// cache and through it, on a disk and on a file system without direct I/O.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <sys/vfs.h>

#include "agent/plugin_library.h"
#include "tests/conformance/plugins/media_conformance.h"
#include "tests/support/temporary_directory.h"

namespace capstan::test {
namespace {

constexpr long kTmpfsMagic = 0x01021994;

class DiskPlace final : public MediaPlace {
 public:
  DiskPlace(const std::string& parent, const std::string& wish)
      : directory_(parent), plugin_(agent::LoadPlugin(CAPSTAN_DISK_PLUGIN).value()) {
    ::setenv("CAPSTAN_DISK_IO", wish.c_str(), 1);
  }
  ~DiskPlace() override { ::unsetenv("CAPSTAN_DISK_IO"); }

  agent::MediaPlugin& plugin() override { return *plugin_; }
  std::string TargetOf(const std::string& name) override { return directory_.Under(name); }
  std::size_t LeftOverCount() override {
    const std::filesystem::directory_iterator all(directory_.path());
    return static_cast<std::size_t>(std::count_if(begin(all), end(all), [](const auto& entry) {
      return entry.path().extension() == ".capstan-partial" ||
             entry.path().extension() == ".capstan-append";
    }));
  }

 private:
  TemporaryDirectory directory_;
  std::unique_ptr<agent::MediaPlugin> plugin_;
};

bool IsTmpfs(const std::string& path) {
  struct statfs status {};
  return ::statfs(path.c_str(), &status) == 0 && status.f_type == kTmpfsMagic;
}

MediaUnderTest OnDisk(const std::string& name, const std::string& wish, const std::string& mode) {
  return {.name = name,
          .make_place = [=](std::string* why) -> std::unique_ptr<MediaPlace> {
            const std::string parent = std::filesystem::temp_directory_path().string();
            if (IsTmpfs(parent) && mode.find("direct") != std::string::npos) {
              *why = parent + " is a tmpfs, which has no direct I/O here; set TMPDIR";
              return nullptr;
            }
            return std::make_unique<DiskPlace>(parent, wish);
          },
          .mode = mode};
}

MediaUnderTest OnTmpfs() {
  return {.name = "Tmpfs",
          .make_place = [](std::string* why) -> std::unique_ptr<MediaPlace> {
            if (!IsTmpfs("/dev/shm")) {
              *why = "/dev/shm is no tmpfs";
              return nullptr;
            }
            return std::make_unique<DiskPlace>("/dev/shm", "");
          },
          // Direct I/O on tmpfs came with Linux 6.6.
          .mode = "io_uring (direct|buffered)|pread/pwrite (direct|buffered)"};
}

const auto kEveryWay =
    testing::Values(OnDisk("UringDirect", "", "io_uring direct"),
                    OnDisk("ThreadDirect", "threads", "pread/pwrite direct"),
                    OnDisk("ThreadBuffered", "buffered", "pread/pwrite buffered"), OnTmpfs());

INSTANTIATE_TEST_SUITE_P(Disk, MediaConformance, kEveryWay, NameOf);
INSTANTIATE_TEST_SUITE_P(Disk, AppendConformance, kEveryWay, NameOf);
INSTANTIATE_TEST_SUITE_P(Disk, ResumeConformance, kEveryWay, NameOf);

}  // namespace
}  // namespace capstan::test
