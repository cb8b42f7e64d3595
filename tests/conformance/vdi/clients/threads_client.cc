// Two to 32 pipe-like devices of one set, a thread for each, in the manner of the multi-thread
// sample: the set belongs to all threads, a device to one.
//
//   threads_client {--backup|--restore} DATABASE --file PATH [--devices N] [as in session.h]
//
// Device n keeps its stream in PATH.n.
#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "arguments.h"
#include "medium.h"
#include "session.h"

namespace {

// From the opening of one device to its end; true if the server closed it.
bool ServeDevice(vendor::Session* session, unsigned index, const std::string& path) {
  vendor::SequentialFile file;
  if (!file.Open(path, session->backup())) {
    session->set().SignalAbort();
    return false;
  }
  ClientVirtualDevice* device = session->Open(index);
  if (device == nullptr) {
    session->set().SignalAbort();
    return false;
  }
  const int status = vendor::Serve(device, &file);
  vendor::Session::Report(index, status);
  return status == VD_E_CLOSE;
}

}  // namespace

int main(int argc, char** argv) {
  const vendor::Arguments arguments(argc, argv);
  const std::string path = arguments.Required("file");
  vendor::Session session(arguments);
  session.config.deviceCount = static_cast<uint32_t>(arguments.Number("devices", 2));
  if (!session.Begin() || !session.AwaitConfiguration()) {
    return session.End(false);
  }
  const unsigned count = session.config.deviceCount;
  std::vector<char> closed(count, 0);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; ++i) {
    threads.emplace_back([&session, &closed, &path, i] {
      closed[i] = ServeDevice(&session, i, path + "." + std::to_string(i + 1)) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  return session.End(std::count(closed.begin(), closed.end(), 1) == static_cast<long>(count));
}
