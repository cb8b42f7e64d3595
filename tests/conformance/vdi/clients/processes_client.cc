// Two to 32 pipe-like devices of one set, a process for each, in the manner of the multi-process
// sample: the primary process creates the set and sends the statement, opens no device itself,
// watches how the secondary processes end, and closes last.
//
//   processes_client {--backup|--restore} DATABASE --file PATH [--devices N] [--helper yes]
//                    [as in session.h]
//
// Device n keeps its stream in PATH.n. With --helper, the first device's process has the work on
// each of its buffers done by a further process, which knows the buffer by its handle alone.
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arguments.h"
#include "medium.h"
#include "session.h"

namespace {

// The helper's end of the socket pair, in a helper.
const int kHelperSocket = 3;

// What is said between a secondary process and its helper, both of this program.
struct HelperOrder {
  std::int32_t command_code;
  std::int32_t size;
  unsigned int buffer_handle;
};

// Starts this program again, as another kind of process. `socket` becomes its kHelperSocket.
pid_t StartSelf(std::vector<std::string> words, int socket = -1) {
  words.insert(words.begin(), "processes_client");
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(&word[0]);
  }
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    if (socket >= 0 && dup2(socket, kHelperSocket) < 0) {
      _exit(126);
    }
    execv("/proc/self/exe", argv.data());
    _exit(127);
  }
  return pid;
}

bool EndedWell(pid_t pid) {
  int how = 0;
  return waitpid(pid, &how, 0) == pid && WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

// --- the helper ---------------------------------------------------------------------------------

int RunHelper(const vendor::Arguments& arguments) {
  ClientVirtualDeviceSet set;
  std::string name = arguments.Required("set");
  const int status = set.OpenInSecondary(&name[0]);
  if (status != 0) {
    vendor::PrintStatus("OpenInSecondary failed in the helper", status);
    return 1;
  }
  vendor::SequentialFile file;
  if (!file.Open(arguments.Required("file"), arguments.Has("writing"))) {
    return 1;
  }
  HelperOrder order;
  while (recv(kHelperSocket, &order, sizeof order, 0) == static_cast<ssize_t>(sizeof order)) {
    VDC_Command command;
    std::memset(&command, 0, sizeof command);
    command.commandCode = order.command_code;
    command.size = order.size;
    vendor::Completion completion = vendor::Failed(ERROR_ARENA_TRASHED);
    // Commands without data have no buffer.
    if (order.buffer_handle == 0 ||
        set.MapBufferHandle(static_cast<int>(order.buffer_handle), &command.buffer) == 0) {
      completion = file.Execute(command);
    }
    if (send(kHelperSocket, &completion, sizeof completion, MSG_NOSIGNAL) < 0) {
      return 1;
    }
  }
  return set.Close() == 0 ? 0 : 1;
}

// Carries commands out in another process.
class HelperMedium : public vendor::Medium {
 public:
  HelperMedium(ClientVirtualDeviceSet* set, const std::string& set_name, const std::string& path,
               bool writing)
      : set_(set) {
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
      return;
    }
    std::vector<std::string> words = {"--role", "helper", "--set", set_name, "--file", path};
    if (writing) {
      words.insert(words.end(), {"--writing", "yes"});
    }
    pid_ = StartSelf(words, ends[1]);
    close(ends[1]);
    socket_ = ends[0];
  }
  ~HelperMedium() { Stop(); }

  // False if the helper did not do well.
  bool Stop() {
    if (pid_ < 0) {
      return false;
    }
    close(socket_);
    const bool well = EndedWell(pid_);
    pid_ = -1;
    std::printf("The helper did %u transfers\n", transfers_);
    return well;
  }

  vendor::Completion Execute(const VDC_Command& command) override {
    HelperOrder order = {command.commandCode, command.size, 0};
    const bool transfer = command.commandCode == VDC_Read || command.commandCode == VDC_Write;
    if (transfer && set_->GetBufferHandle(command.buffer, &order.buffer_handle) != 0) {
      return vendor::Failed(ERROR_ARENA_TRASHED);
    }
    vendor::Completion completion;
    if (send(socket_, &order, sizeof order, MSG_NOSIGNAL) < 0 ||
        recv(socket_, &completion, sizeof completion, 0) !=
            static_cast<ssize_t>(sizeof completion)) {
      return vendor::Failed(ERROR_ARENA_TRASHED);
    }
    transfers_ += transfer ? 1 : 0;
    return completion;
  }

 private:
  ClientVirtualDeviceSet* set_;
  pid_t pid_ = -1;
  int socket_ = -1;
  unsigned transfers_ = 0;
};

// --- a secondary process ------------------------------------------------------------------------

int ServeInSecondary(ClientVirtualDeviceSet* set, const vendor::Arguments& arguments) {
  const unsigned index = static_cast<unsigned>(arguments.Number("index", 0));
  std::string device_name = arguments.Required("device");
  ClientVirtualDevice* device = nullptr;
  int status = set->OpenDevice(&device_name[0], &device);
  if (status != 0) {
    vendor::PrintStatus("OpenDevice failed in a secondary process", status);
    return status;
  }
  // It was told neither whether this is a backup nor how large transfers are.
  VDConfig config;
  status = set->GetConfiguration(-1, &config);
  if (status != 0) {
    vendor::PrintStatus("GetConfiguration failed in a secondary process", status);
    return status;
  }
  const bool writing = (config.features & VDF_WriteMedia) != 0;
  const std::string path = arguments.Required("file");
  if (arguments.Has("helper")) {
    HelperMedium helper(set, arguments.Required("set"), path, writing);
    status = vendor::Serve(device, &helper);
    if (!helper.Stop() && status == VD_E_CLOSE) {
      status = VD_E_UNEXPECTED;
    }
  } else {
    vendor::SequentialFile file;
    status = file.Open(path, writing) ? vendor::Serve(device, &file) : VD_E_UNEXPECTED;
  }
  vendor::Session::Report(index, status);
  return status;
}

int RunSecondary(const vendor::Arguments& arguments) {
  ClientVirtualDeviceSet set;
  std::string name = arguments.Required("set");
  int status = set.OpenInSecondary(&name[0]);
  if (status != 0) {
    vendor::PrintStatus("OpenInSecondary failed", status);
    return 1;
  }
  status = ServeInSecondary(&set, arguments);
  if (status != VD_E_CLOSE) {
    set.SignalAbort();
  }
  set.Close();
  return status == VD_E_CLOSE ? 0 : 1;
}

// --- the primary process ------------------------------------------------------------------------

pid_t StartSecondary(const vendor::Session& session, const vendor::Arguments& arguments,
                     unsigned index) {
  const std::string number = std::to_string(index + 1);
  std::vector<std::string> words = {"--role",   "secondary",
                                    "--set",    session.device_name(0),
                                    "--device", session.device_name(index),
                                    "--index",  std::to_string(index),
                                    "--file",   arguments.Required("file") + "." + number};
  if (arguments.Has("helper") && index == 0) {
    words.insert(words.end(), {"--helper", "yes"});
  }
  return StartSelf(words);
}

// The server sees the death of the primary, not of a secondary: telling it is up to us.
bool WatchSecondaries(vendor::Session* session, std::map<pid_t, unsigned>* running) {
  bool all_well = true;
  while (!running->empty()) {
    // Not wait(): sqlcmd is a child, too, and another object's to reap.
    for (std::map<pid_t, unsigned>::iterator it = running->begin(); it != running->end();) {
      int how = 0;
      if (waitpid(it->first, &how, WNOHANG) != it->first) {
        ++it;
        continue;
      }
      if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) {
        std::printf("The process of device %u ended badly\n", it->second + 1);
        all_well = false;
        session->set().SignalAbort();
      }
      it = running->erase(it);
    }
    usleep(1000);
  }
  return all_well;
}

int RunPrimary(const vendor::Arguments& arguments) {
  vendor::Session session(arguments);
  session.config.deviceCount = static_cast<uint32_t>(arguments.Number("devices", 2));
  if (!session.Begin() || !session.AwaitConfiguration()) {
    return session.End(false);
  }
  std::map<pid_t, unsigned> running;
  for (unsigned i = 0; i < session.config.deviceCount; ++i) {
    running[StartSecondary(session, arguments, i)] = i;
  }
  return session.End(WatchSecondaries(&session, &running));
}

}  // namespace

int main(int argc, char** argv) {
  const vendor::Arguments arguments(argc, argv);
  const std::string role = arguments.Get("role", "primary");
  return role == "helper"      ? RunHelper(arguments)
         : role == "secondary" ? RunSecondary(arguments)
                               : RunPrimary(arguments);
}
