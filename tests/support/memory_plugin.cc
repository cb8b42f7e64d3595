#include "tests/support/memory_plugin.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace capstan::test {
namespace {

using Bytes = std::vector<std::byte>;

struct Medium {
  std::string token;  // of the construction or appending that made it
  std::shared_ptr<Bytes> bytes = std::make_shared<Bytes>();
  std::shared_ptr<Medium> before = nullptr;  // what was appended to; null: new
  bool held = false;                         // a device is open on it
  std::optional<std::size_t> end = {};       // of one that was gone on with, as of the last flush
};

struct Shelf {
  std::mutex mutex;
  std::map<std::string, Medium> media;                                  // by target
  std::map<std::pair<std::string, std::string>, Medium> constructions;  // by target, token
};

Shelf& TheShelf() {
  static Shelf shelf;
  return shelf;
}

int Fail(capstan_error* error, int os_error, const std::string& message) {
  error->os_error = os_error;
  std::snprintf(error->message, sizeof(error->message), "%s", message.c_str());
  return -1;
}

}  // namespace
}  // namespace capstan::test

// The opaque type of plugin.h.
struct capstan_device {
  std::string target;
  std::string token;
  std::uint32_t mode = 0;
  std::shared_ptr<std::vector<std::byte>> bytes;
  std::size_t committed = 0;  // bytes that an append must not touch
  bool resumed = false;
  std::size_t written = 0;  // where the highest write has ended
  bool complete = false;
  std::int64_t cursor = 0;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<capstan_request*> requests;
  bool stopping = false;
  std::jthread worker;
};

namespace capstan::test {
namespace {

void Transfer(capstan_device& device, capstan_request& request) {
  auto& bytes = *device.bytes;
  const auto position = static_cast<std::size_t>(request.position);
  if (request.op == CAPSTAN_OP_WRITE) {
    bytes.resize(std::max(bytes.size(), position + request.size));
    std::memcpy(bytes.data() + position, request.buffer, request.size);
    request.bytes_transferred = request.size;
    device.written = std::max(device.written, position + request.size);
  } else {
    const std::size_t there = position < bytes.size() ? bytes.size() - position : 0;
    request.bytes_transferred =
        static_cast<std::uint32_t>(std::min<std::size_t>(there, request.size));
    if (request.bytes_transferred > 0) {
      std::memcpy(request.buffer, bytes.data() + position, request.bytes_transferred);
    }
    if (request.bytes_transferred < request.size) {
      request.completion_code = 38;
      Fail(&request.error, 0, "end of data of medium '" + device.target + "'");
    }
  }
  device.cursor = request.position + request.bytes_transferred;
}

void Complete(capstan_device& device) {
  if (device.mode == CAPSTAN_OPEN_READ || device.complete) {
    return;
  }
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  const auto begun = shelf.constructions.find({device.target, device.token});
  if (begun == shelf.constructions.end()) {
    return;  // recovered, or forgotten, under our hands
  }
  if (device.resumed) {
    device.bytes->resize(device.written);
  }
  shelf.media[device.target] = std::move(begun->second);
  shelf.constructions.erase(begun);
  device.complete = true;
}

// Where a construction that was gone on with would end.
void Flush(const capstan_device& device) {
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  const auto begun = shelf.constructions.find({device.target, device.token});
  if (device.resumed && begun != shelf.constructions.end()) {
    begun->second.end = device.written;
  }
}

// Undoes what the token completed, unless somebody has replaced or continued it since.
void TakeBack(Shelf& shelf, const std::string& target, const std::string& token) {
  const auto medium = shelf.media.find(target);
  if (medium == shelf.media.end() || medium->second.token != token) {
    return;
  }
  if (const std::shared_ptr<Medium> before = medium->second.before; before != nullptr) {
    medium->second = *before;
  } else {
    shelf.media.erase(medium);
  }
}

void SetPosition(capstan_device& device, capstan_request& request) {
  const auto end = static_cast<std::int64_t>(device.bytes->size());
  const std::int64_t bases[] = {0, device.cursor, end};
  if (request.size > 2 || bases[request.size] + request.position < 0) {
    request.completion_code = 29;
    Fail(&request.error, EINVAL, "unable to set the position of medium '" + device.target + "'");
    return;
  }
  device.cursor = bases[request.size] + request.position;
  request.out_position = device.cursor;
}

void Carry(capstan_device& device, capstan_request& request) {
  request.completion_code = 0;
  switch (request.op) {
    case CAPSTAN_OP_READ:
    case CAPSTAN_OP_WRITE:
      Transfer(device, request);
      break;
    case CAPSTAN_OP_CLEAR_ERROR:
      break;
    case CAPSTAN_OP_FLUSH:
      Flush(device);
      break;
    case CAPSTAN_OP_REWIND:
      device.cursor = 0;
      break;
    case CAPSTAN_OP_GET_POSITION:
      request.out_position = device.cursor;
      break;
    case CAPSTAN_OP_SET_POSITION:
      SetPosition(device, request);
      break;
    case CAPSTAN_OP_COMPLETE:
      Complete(device);
      break;
    default:
      request.completion_code = 50;
      Fail(&request.error, ENOTSUP, "medium '" + device.target + "' has no such operation");
  }
  request.complete(&request);
}

void Work(capstan_device& device) {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::unique_lock lock(device.mutex);
  while (true) {
    device.changed.wait(lock, [&] { return device.stopping || !device.requests.empty(); });
    if (device.requests.empty()) {
      return;
    }
    capstan_request& request = *device.requests.front();
    lock.unlock();
    Carry(device, request);
    lock.lock();
    device.requests.pop_front();
    device.changed.notify_all();
  }
}

// Begins a new medium, or to append to the one that is there. 0, or an errno.
int Begin(Shelf& shelf, capstan_device& device) {
  const auto medium = shelf.media.find(device.target);
  const bool appends = device.mode == CAPSTAN_OPEN_APPEND;
  if (device.mode == CAPSTAN_OPEN_CREATE && medium != shelf.media.end()) {
    return EEXIST;
  }
  if (appends && medium == shelf.media.end()) {
    return ENOENT;
  }
  for (const auto& [name, other] : shelf.constructions) {
    // What was cut short is in nobody's way, but for an appending that another would build on.
    if (name.first == device.target && (other.held || (appends && other.before != nullptr))) {
      return EBUSY;
    }
  }
  if (shelf.constructions.count({device.target, device.token}) == 1) {
    return EEXIST;
  }
  if (!appends) {
    // Whoever replaces the medium need not wait until an appending is settled.
    std::erase_if(shelf.constructions, [&](const auto& one) {
      return one.first.first == device.target && one.second.before != nullptr;
    });
  }
  Medium begun{.token = device.token, .held = true};
  if (appends) {
    *begun.bytes = *medium->second.bytes;
    begun.before = std::make_shared<Medium>(medium->second);
    device.committed = begun.bytes->size();
  }
  device.bytes = begun.bytes;
  shelf.constructions[{device.target, device.token}] = std::move(begun);
  return 0;
}

// Goes on with a new medium that the token began. 0, or an errno.
int Resume(Shelf& shelf, capstan_device& device) {
  const auto begun = shelf.constructions.find({device.target, device.token});
  if (begun == shelf.constructions.end() || begun->second.before != nullptr) {
    return ENOENT;
  }
  for (const auto& [name, other] : shelf.constructions) {
    if (name.first == device.target && other.held) {
      return EBUSY;
    }
  }
  if (device.mode == CAPSTAN_OPEN_CREATE && shelf.media.count(device.target) == 1) {
    return EEXIST;
  }
  begun->second.held = true;
  begun->second.end.reset();
  device.resumed = true;
  device.bytes = begun->second.bytes;
  return 0;
}

int Open(const capstan_open_params* params, capstan_device** result, capstan_error* error) {
  auto device = std::make_unique<capstan_device>();
  device->target = params->target;
  device->token = params->token;
  device->mode = params->mode;
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  if (params->mode == CAPSTAN_OPEN_READ) {
    const auto medium = shelf.media.find(device->target);
    if (medium == shelf.media.end()) {
      return Fail(error, ENOENT, "unable to open medium '" + device->target + "'");
    }
    device->bytes = medium->second.bytes;
  } else if (const int os_error = (params->flags & CAPSTAN_OPEN_RESUME) != 0
                                      ? Resume(shelf, *device)
                                      : Begin(shelf, *device);
             os_error != 0) {
    return Fail(error, os_error, "unable to write medium '" + device->target + "'");
  }
  device->worker = std::jthread([&target = *device] { Work(target); });
  *result = device.release();
  return 0;
}

int Submit(capstan_device* device, capstan_request* request, capstan_error* error) {
  const bool writes = request->op == CAPSTAN_OP_WRITE;
  if (writes && device->mode == CAPSTAN_OPEN_READ) {
    return Fail(error, EBADF, "medium '" + device->target + "' is open for reading only");
  }
  if ((writes || request->op == CAPSTAN_OP_READ) &&
      (request->position < 0 || request->size == 0 || request->buffer == nullptr)) {
    return Fail(error, EINVAL, "transfer out of range on medium '" + device->target + "'");
  }
  if (writes && static_cast<std::size_t>(request->position) < device->committed) {
    return Fail(error, EINVAL, "a write would change what medium '" + device->target + "' holds");
  }
  const std::lock_guard lock(device->mutex);
  device->requests.push_back(request);
  device->changed.notify_all();
  return 0;
}

void Stop(capstan_device& device) {
  {
    std::unique_lock lock(device.mutex);
    device.changed.wait(lock, [&] { return device.requests.empty(); });
    device.stopping = true;
    device.changed.notify_all();
  }
  device.worker.join();
}

int Close(capstan_device* raw, uint32_t outcome, capstan_error* error) {
  const std::unique_ptr<capstan_device> device(raw);
  Stop(*device);
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  if (device->mode == CAPSTAN_OPEN_READ) {
    return 0;
  }
  const auto begun = shelf.constructions.find({device->target, device->token});
  if (outcome == CAPSTAN_OUTCOME_KEEP) {
    if (begun != shelf.constructions.end()) {
      begun->second.held = false;
    }
    return 0;
  }
  if (begun != shelf.constructions.end()) {
    shelf.constructions.erase(begun);
  }
  if (outcome == CAPSTAN_OUTCOME_DISCARD && device->complete) {
    TakeBack(shelf, device->target, device->token);
  }
  return outcome == CAPSTAN_OUTCOME_DISCARD || device->complete
             ? 0
             : Fail(error, EINVAL, "medium '" + device->target + "' was closed incomplete");
}

int Stat(const char* target, capstan_stat_result* result, capstan_error*) {
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  const auto medium = shelf.media.find(target);
  result->exists = medium != shelf.media.end() ? 1 : 0;
  result->size = medium != shelf.media.end() ? medium->second.bytes->size() : 0;
  result->free_space = UINT64_MAX;
  result->modified_unix_s = 0;
  return 0;
}

int Remove(const char* target, capstan_error* error) {
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  return shelf.media.erase(target) == 1
             ? 0
             : Fail(error, ENOENT, std::string("unable to remove medium '") + target + "'");
}

int Recover(const char* target, const char* token, uint32_t action, capstan_error* error) {
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  const auto begun = shelf.constructions.find({target, token});
  const auto medium = shelf.media.find(target);
  const bool finished = medium != shelf.media.end() && medium->second.token == token;
  if (action == CAPSTAN_RECOVER_DISCARD) {
    if (begun != shelf.constructions.end()) {
      shelf.constructions.erase(begun);
    } else {
      TakeBack(shelf, target, token);
    }
    return 0;
  }
  if (begun != shelf.constructions.end()) {
    if (begun->second.end) {
      begun->second.bytes->resize(*begun->second.end);
    }
    shelf.media[target] = std::move(begun->second);
    shelf.constructions.erase(begun);
    return 0;
  }
  return finished ? 0 : Fail(error, ENOENT, std::string("nothing to recover for '") + target + "'");
}

int DeviceStatus(capstan_device*, capstan_device_status* status, capstan_error*) {
  std::snprintf(status->mode, sizeof(status->mode), "memory");
  return 0;
}

constexpr capstan_plugin kPlugin = {
    .struct_size = sizeof(capstan_plugin),
    .abi_version = CAPSTAN_PLUGIN_ABI_VERSION,
    .name = "memory",
    .version = "1",
    .vendor = "Capstan tests",
    .device_class = "DISK",
    .schemes = "mem",
    .capabilities = CAPSTAN_CAN_READ | CAPSTAN_CAN_WRITE | CAPSTAN_CAN_RECOVER |
                    CAPSTAN_CAN_REMOVE | CAPSTAN_CAN_APPEND | CAPSTAN_CAN_UNDO | CAPSTAN_CAN_RESUME,
    .device_features = CAPSTAN_FEATURE_RANDOM_ACCESS,
    .alignment = 4096,
    .open = Open,
    .submit = Submit,
    .close = Close,
    .stat = Stat,
    .remove = Remove,
    .recover = Recover,
    .configure = nullptr,
    .device_status = DeviceStatus,
};

}  // namespace

const capstan_plugin* MemoryPlugin() {
  return &kPlugin;
}

void ForgetMemoryMedia() {
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  shelf.media.clear();
  shelf.constructions.clear();
}

bool MemoryMediumExists(const std::string& target) {
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  return shelf.media.count(target) == 1;
}

std::vector<std::byte> MemoryMediumBytes(const std::string& target) {
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  const auto medium = shelf.media.find(target);
  return medium == shelf.media.end() ? Bytes{} : *medium->second.bytes;
}

std::size_t MemoryConstructionCount() {
  Shelf& shelf = TheShelf();
  const std::lock_guard lock(shelf.mutex);
  return shelf.constructions.size();
}

}  // namespace capstan::test
