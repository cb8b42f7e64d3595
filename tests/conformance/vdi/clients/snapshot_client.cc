// Snapshot backup, in the manner of the snapshot sample: only metadata passes through the device;
// the client copies the files while the database is frozen, and puts them back for a restore.
//
//   snapshot_client {--backup|--restore} DATABASE --metadata PATH --snapshot FOLDER
//                   --file DATABASE_FILE [--file ...] [--decline {prepare|snapshot|mount}]
//                   [--hold {prepare|snapshot} --until PATH] [as in session.h]
//
// A --file that does not exist has no place in the snapshot, and is removed by mounting it. With
// --hold, that step waits until PATH exists: so does a client that has to bring several databases
// to the same point.
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "medium.h"
#include "session.h"

namespace {

bool Exists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0;
}

bool Copy(const std::string& source, const std::string& target) {
  std::ifstream from(source, std::ios::binary);
  std::ofstream to(target, std::ios::binary | std::ios::trunc);
  if (from.peek() != std::ifstream::traits_type::eof()) {
    to << from.rdbuf();  // sets failbit on an empty source
  }
  return from.is_open() && to.good();
}

class SnapshotMedium : public vendor::Medium {
 public:
  SnapshotMedium(const vendor::Arguments& arguments, vendor::Medium* metadata)
      : metadata_(metadata),
        files_(arguments.All("file")),
        folder_(arguments.Required("snapshot")),
        decline_(arguments.Get("decline")),
        hold_(arguments.Get("hold")),
        until_(arguments.Get("until")) {}

  vendor::Completion Execute(const VDC_Command& command) override {
    switch (command.commandCode) {
      case VDC_PrepareToFreeze:
        return Step("prepare", &SnapshotMedium::Prepare);
      case VDC_Snapshot:
        return Step("snapshot", &SnapshotMedium::TakeSnapshot);
      case VDC_MountSnapshot:
        return Step("mount", &SnapshotMedium::MountSnapshot);
      case VDC_Discard:
        return vendor::Done();
      default:
        return metadata_->Execute(command);
    }
  }

 private:
  vendor::Completion Step(const char* name, bool (SnapshotMedium::*act)() const) {
    if (hold_ == name) {
      std::printf("Holding %s\n", name);
      std::fflush(stdout);
      while (!Exists(until_)) {
        usleep(1000);
      }
    }
    const bool done = decline_ != name && (this->*act)();
    std::printf("Step %s: %s\n", name, done ? "done" : "declined");
    std::fflush(stdout);
    return done ? vendor::Done() : vendor::Failed(ERROR_OPERATION_ABORTED);
  }

  // Files are numbered, so that two of the same name are no trouble.
  std::string InSnapshot(std::size_t index) const {
    return folder_ + "/" + std::to_string(index + 1);
  }

  // Permits the freeze; a real client would quiesce what else is on the volume.
  bool Prepare() const { return true; }

  bool TakeSnapshot() const {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (Exists(files_[i]) && !Copy(files_[i], InSnapshot(i))) {
        return false;
      }
    }
    return true;
  }

  bool MountSnapshot() const {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (!Exists(InSnapshot(i))) {
        unlink(files_[i].c_str());
      } else if (!Copy(InSnapshot(i), files_[i])) {
        return false;
      }
    }
    return true;
  }

  vendor::Medium* const metadata_;
  const std::vector<std::string> files_;
  const std::string folder_;
  const std::string decline_;
  const std::string hold_;
  const std::string until_;
};

}  // namespace

int main(int argc, char** argv) {
  const vendor::Arguments arguments(argc, argv);
  vendor::Session session(arguments);
  session.config.features = VDF_LikePipe | VDF_SnapshotPrepare;
  session.options = session.backup() ? "SNAPSHOT" : "SNAPSHOT, REPLACE";
  if (!session.Begin() || !session.AwaitConfiguration()) {
    return session.End(false);
  }
  vendor::SequentialFile metadata;
  ClientVirtualDevice* device =
      metadata.Open(arguments.Required("metadata"), session.backup()) ? session.Open(0) : nullptr;
  if (device == nullptr) {
    return session.End(false);
  }
  SnapshotMedium medium(arguments, &metadata);
  const int status = vendor::Serve(device, &medium);
  vendor::Session::Report(0, status);
  return session.End(status == VD_E_CLOSE);
}
