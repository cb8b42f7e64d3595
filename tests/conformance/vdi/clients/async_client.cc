// A disk-like device with a queue: up to four commands are taken before the first is completed, and
// those of one batch are completed in reverse order. With VDC_Complete the client decides at the
// last moment whether the backup counts: it holds the command until its store has confirmed.
//
//   async_client {--backup|--restore} DATABASE --file PATH [--store {confirm|refuse}]
//                [as in session.h]
//
// With --store, PATH is a spool file, and PATH.stored what the store keeps.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <unistd.h>

#include "arguments.h"
#include "random_access_file.h"
#include "session.h"

namespace {

const std::size_t kQueueDepth = 4;
// A device takes its time; meanwhile the server sends more.
const useconds_t kTransferMicroseconds = 1000;

// Where the data is kept in the end: slow, far away, and free to say no.
class Store {
 public:
  Store(const std::string& spool, bool confirms) : spool_(spool), confirms_(confirms) {}

  bool Keep() const {
    if (!confirms_) {
      return false;
    }
    std::ifstream from(spool_, std::ios::binary);
    std::ofstream to(spool_ + ".stored", std::ios::binary);
    to << from.rdbuf();
    return to.good() && from.tellg() == to.tellp();
  }

 private:
  const std::string spool_;
  const bool confirms_;
};

class Queue {
 public:
  Queue(ClientVirtualDevice* device, vendor::Medium* medium, const Store& store)
      : device_(device), medium_(medium), store_(store), deepest_(0) {}

  std::size_t deepest() const { return deepest_; }

  int Serve() {
    int status = 0;
    while (status == 0) {
      status = Take();
      // What was taken is carried out even if no more comes.
      const int completed = CompleteInReverse();
      status = status == 0 ? completed : status;
    }
    return status;
  }

 private:
  struct Taken {
    VDC_Command* command;
    vendor::Completion completion;
  };

  // Waits for one command, then takes what is there already, and executes in the order of arrival.
  int Take() {
    VDC_Command* command = nullptr;
    int status = device_->GetCommand(90, &command);
    while (status == 0) {
      taken_.push_back(Taken{command, Execute(*command)});
      if (taken_.size() == kQueueDepth) {
        break;
      }
      usleep(kTransferMicroseconds);
      status = device_->GetCommand(0, &command);
    }
    deepest_ = std::max(deepest_, taken_.size());
    return status == VD_E_TIMEOUT && !taken_.empty() ? 0 : status;
  }

  vendor::Completion Execute(const VDC_Command& command) {
    if (command.commandCode != VDC_Complete) {
      return medium_->Execute(command);
    }
    const bool kept = store_.Keep();
    std::printf(kept ? "The store has confirmed\n" : "The store has refused\n");
    return kept ? vendor::Done() : vendor::Failed(ERROR_HANDLE_DISK_FULL);
  }

  int CompleteInReverse() {
    int status = 0;
    for (; !taken_.empty(); taken_.pop_back()) {
      const Taken& last = taken_.back();
      const int completed = device_->CompleteCommand(
          last.command, last.completion.code, last.completion.bytes, last.completion.position);
      status = status == 0 ? completed : status;
    }
    return status;
  }

  ClientVirtualDevice* const device_;
  vendor::Medium* const medium_;
  const Store store_;
  std::vector<Taken> taken_;
  std::size_t deepest_;
};

}  // namespace

int main(int argc, char** argv) {
  const vendor::Arguments arguments(argc, argv);
  const std::string path = arguments.Required("file");
  vendor::Session session(arguments);
  session.config.features = VDF_LikeDisk;
  if (arguments.Has("store")) {
    session.config.features |= VDF_RequestComplete;
  }
  if (!session.Begin() || !session.AwaitConfiguration()) {
    return session.End(false);
  }
  if (session.backup() && arguments.Has("store") &&
      (session.config.features & VDF_CompleteEnabled) == 0) {
    std::printf("The server will not send VDC_Complete\n");
    return session.End(false);
  }
  vendor::RandomAccessFile file;
  ClientVirtualDevice* device = file.Open(path, session.backup()) ? session.Open(0) : nullptr;
  if (device == nullptr) {
    return session.End(false);
  }
  Queue queue(device, &file, Store(path, arguments.Get("store") != "refuse"));
  const int status = queue.Serve();
  vendor::Session::Report(0, status);
  std::printf("Deepest queue: %zu\n", queue.deepest());
  return session.End(status == VD_E_CLOSE);
}
