#include "tests/conformance/liars/honest_device.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace capstan::test {
namespace {

DeviceMaker make_device = nullptr;

int Fail(capstan_error* error, int os_error, const char* doing, const std::string& target) {
  error->os_error = os_error;
  std::snprintf(error->message, sizeof(error->message), "unable to %s medium '%.300s'", doing,
                target.c_str());
  return -1;
}

std::string PathOf(const std::string& target) {
  const std::size_t scheme = target.find("://");
  return scheme == std::string::npos ? target : target.substr(scheme + 3);
}

std::string FolderOf(const std::string& target) {
  return std::filesystem::path(target).parent_path().string();
}

std::string PartOf(const std::string& target, const std::string& token) {
  return target + "." + token + ".part";
}

// Where what was gone on with ends, if recover() is to finish it.
std::string EndOf(const std::string& target, const std::string& token) {
  return PartOf(target, token) + ".end";
}

int CutToNotedEnd(const std::string& target, const std::string& token) {
  std::int64_t end = 0;
  const int note = ::open(EndOf(target, token).c_str(), O_RDONLY | O_CLOEXEC);
  if (note < 0) {
    return errno == ENOENT ? 0 : errno;
  }
  const bool told = ::read(note, &end, sizeof(end)) == sizeof(end);
  ::close(note);
  return !told ? EIO : ::truncate(PartOf(target, token).c_str(), end) != 0 ? errno : 0;
}

// Who finished the medium: recover() must know its own again.
std::string OwnerOf(const std::string& target) {
  char token[65] = {};
  std::FILE* const file = std::fopen((target + ".owner").c_str(), "re");
  if (file != nullptr) {
    [[maybe_unused]] const std::size_t got = std::fread(token, 1, sizeof(token) - 1, file);
    std::fclose(file);
  }
  return token;
}

int FlushFolder(const std::string& target) {
  const int folder = ::open(FolderOf(target).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int result = folder < 0 ? errno : ::fsync(folder) != 0 ? errno : 0;
  ::close(folder);
  return result;
}

int Publish(const std::string& target, const std::string& token) {
  const int owner =
      ::open((target + ".owner").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool noted =
      owner >= 0 &&
      ::write(owner, token.data(), token.size()) == static_cast<ssize_t>(token.size()) &&
      ::fsync(owner) == 0;
  const int failure = errno;
  ::close(owner);
  if (!noted) {
    return failure;
  }
  if (::rename(PartOf(target, token).c_str(), target.c_str()) != 0) {
    return errno;
  }
  ::unlink(EndOf(target, token).c_str());
  return FlushFolder(target);
}

void Undo(const std::string& target, const std::string& token) {
  ::unlink(EndOf(target, token).c_str());
  const bool begun = ::unlink(PartOf(target, token).c_str()) == 0;
  if (!begun && OwnerOf(target) == token) {
    ::unlink(target.c_str());
    ::unlink((target + ".owner").c_str());
  }
}

// Honest in this, too: nothing but the device's own thread takes a signal there.
template <typename Body>
std::thread ThreadWithoutSignals(Body body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(body);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

HonestDevice::~HonestDevice() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
  if (lock_ >= 0) {
    ::close(lock_);
  }
}

int HonestDevice::Begin(const capstan_open_params& params) {
  if (mode_ == CAPSTAN_OPEN_READ) {
    fd_ = ::open(target_.c_str(), O_RDONLY | O_CLOEXEC);
    return fd_ < 0 ? errno : 0;
  }
  if (mode_ == CAPSTAN_OPEN_APPEND || params.retain_until_unix_s != 0 || token_.empty()) {
    return EOPNOTSUPP;
  }
  lock_ = ::open(FolderOf(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) {
    return errno;
  }
  resumed_ = (params.flags & CAPSTAN_OPEN_RESUME) != 0;
  if (Locks(resumed_) && ::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    return errno == EWOULDBLOCK ? EBUSY : errno;
  }
  const std::string part = PartOf(target_, token_);
  if (resumed_ && ::access(part.c_str(), F_OK) != 0) {
    return errno;
  }
  if (mode_ == CAPSTAN_OPEN_CREATE && ::access(target_.c_str(), F_OK) == 0) {
    return EEXIST;
  }
  fd_ = ::open(part.c_str(), OpenFlags(resumed_) | O_CLOEXEC, 0600);
  return fd_ < 0 ? errno : 0;
}

int HonestDevice::OpenFlags(bool resumes) const {
  return resumes ? O_RDWR : O_RDWR | O_CREAT | O_TRUNC;
}

int HonestDevice::Open(const capstan_open_params& params, capstan_error* error) {
  target_ = PathOf(params.target);
  token_ = params.token == nullptr ? "" : params.token;
  mode_ = params.mode;
  if (const int status = Begin(params); status != 0) {
    return Fail(error, status, "open", target_);
  }
  worker_ = ThreadWithoutSignals([this] { Work(); });
  return 0;
}

int HonestDevice::Submit(capstan_request* request, capstan_error* error) {
  if (request->op == CAPSTAN_OP_WRITE && mode_ == CAPSTAN_OPEN_READ) {
    return Fail(error, EBADF, "write", target_);
  }
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  changed_.notify_all();
  return 0;
}

int HonestDevice::WriteAt(const void* bytes, std::size_t size, std::int64_t position) {
  const auto* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::pwrite(fd_, at, size, position);
    if (written < 0) {
      return errno;
    }
    at += written;
    position += written;
    size -= static_cast<std::size_t>(written);
  }
  return 0;
}

int HonestDevice::Write(const capstan_request& request) {
  return WriteAt(request.buffer, request.size, request.position);
}

int HonestDevice::Read(capstan_request* request) {
  auto* const bytes = static_cast<char*>(request->buffer);
  while (request->bytes_transferred < request->size) {
    const ssize_t got =
        ::pread(fd_, bytes + request->bytes_transferred, request->size - request->bytes_transferred,
                request->position + request->bytes_transferred);
    if (got < 0) {
      return errno;
    }
    if (got == 0) {
      request->completion_code = CAPSTAN_E_END;
      Fail(&request->error, 0, "read beyond the end of", target_);
      return 0;
    }
    request->bytes_transferred += static_cast<std::uint32_t>(got);
  }
  return 0;
}

int HonestDevice::Flush() {
  if (mode_ == CAPSTAN_OPEN_READ || complete_) {
    return 0;
  }
  return ::fdatasync(fd_) != 0 ? errno : FlushFolder(target_);
}

int HonestDevice::Cut() {
  return ::ftruncate(fd_, end_) != 0 ? errno : 0;
}

int HonestDevice::NoteEnd() const {
  const int note =
      ::open(EndOf(target_, token_).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool noted =
      note >= 0 && ::write(note, &end_, sizeof(end_)) == sizeof(end_) && ::fsync(note) == 0;
  const int failure = errno;
  ::close(note);
  return noted ? FlushFolder(target_) : failure;
}

int HonestDevice::Complete() {
  if (mode_ == CAPSTAN_OPEN_READ || complete_) {
    return 0;
  }
  if (const int status = resumed_ ? Cut() : 0; status != 0) {
    return status;
  }
  const int status = ::fdatasync(fd_) != 0 ? errno : Publish(target_, token_);
  complete_ = status == 0;
  return status;
}

void HonestDevice::Finish(capstan_request* request) {
  request->complete(request);
}

void HonestDevice::Carry(capstan_request* request) {
  int status = 0;
  request->completion_code = CAPSTAN_E_OK;
  request->bytes_transferred = 0;
  switch (request->op) {
    case CAPSTAN_OP_READ:
      status = Read(request);
      break;
    case CAPSTAN_OP_WRITE:
      status = Write(*request);
      request->bytes_transferred = status == 0 ? request->size : 0;
      end_ = std::max(end_, request->position + request->size);
      break;
    case CAPSTAN_OP_CLEAR_ERROR:
      break;
    case CAPSTAN_OP_FLUSH:
      status = Flush();
      if (status == 0 && resumed_ && !complete_) {
        status = NoteEnd();
      }
      break;
    case CAPSTAN_OP_COMPLETE:
      status = Complete();
      break;
    default:
      request->completion_code = CAPSTAN_E_UNSUPPORTED;
      Fail(&request->error, ENOTSUP, "carry such an operation out on", target_);
  }
  if (status != 0) {
    request->completion_code = CAPSTAN_E_IO;
    Fail(&request->error, status, "use", target_);
  }
  Finish(request);
}

void HonestDevice::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !requests_.empty(); });
    if (requests_.empty()) {
      return;
    }
    capstan_request* const request = requests_.front();
    requests_.pop_front();
    const bool given_up = giving_up_;
    lock.unlock();
    if (given_up) {
      request->completion_code = CAPSTAN_E_ABORTED;
      Fail(&request->error, 0, "go on with", target_);
      request->complete(request);
    } else {
      Carry(request);
    }
    lock.lock();
  }
}

int HonestDevice::Close(std::uint32_t outcome, capstan_error* error) {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    giving_up_ = outcome != CAPSTAN_OUTCOME_DONE;
    changed_.notify_all();
  }
  worker_.join();
  if (mode_ == CAPSTAN_OPEN_READ) {
    return 0;
  }
  if (outcome == CAPSTAN_OUTCOME_KEEP) {
    const int status = Keep();
    return status == 0 ? 0 : Fail(error, status, "keep", target_);
  }
  if (outcome == CAPSTAN_OUTCOME_DISCARD || !complete_) {
    Undo(target_, token_);
  }
  return outcome == CAPSTAN_OUTCOME_DISCARD || complete_ ? 0 : Fail(error, EINVAL, "end", target_);
}

int HonestDevice::Stat(const char* name, capstan_stat_result* result, capstan_error* error) {
  const std::string target = PathOf(name);
  struct stat file {};
  struct statvfs space {};
  const bool there = ::stat(target.c_str(), &file) == 0;
  if (!there && errno != ENOENT) {
    return Fail(error, errno, "look up", target);
  }
  result->exists = there ? 1 : 0;
  result->size = there ? static_cast<std::uint64_t>(file.st_size) : 0;
  result->modified_unix_s = there ? file.st_mtime : 0;
  result->free_space = ::statvfs(FolderOf(target).c_str(), &space) == 0
                           ? space.f_bavail * space.f_frsize
                           : UINT64_MAX;
  return 0;
}

int HonestDevice::Remove(const char* name, capstan_error* error) {
  const std::string target = PathOf(name);
  if (::unlink(target.c_str()) != 0) {
    return Fail(error, errno, "remove", target);
  }
  ::unlink((target + ".owner").c_str());
  return 0;
}

int HonestDevice::Recover(const char* name, const char* token, std::uint32_t action,
                          capstan_error* error) {
  const std::string target = PathOf(name);
  if (action == CAPSTAN_RECOVER_DISCARD) {
    Undo(target, token);
    return 0;
  }
  int status = ENOENT;
  if (::access(PartOf(target, token).c_str(), F_OK) == 0) {
    status = CutToNotedEnd(target, token);
    status = status == 0 ? Publish(target, token) : status;
  } else if (OwnerOf(target) == token && ::access(target.c_str(), F_OK) == 0) {
    status = 0;
  }
  return status == 0 ? 0 : Fail(error, status, "recover", target);
}

const capstan_plugin* PluginOf(DeviceMaker make) {
  make_device = make;
  static constexpr capstan_plugin kPlugin = {
      .struct_size = sizeof(capstan_plugin),
      .abi_version = CAPSTAN_PLUGIN_ABI_VERSION,
      .name = "honest",
      .version = "1",
      .vendor = "Capstan tests",
      .device_class = "DISK",
      .schemes = "",
      .capabilities = CAPSTAN_CAN_READ | CAPSTAN_CAN_WRITE | CAPSTAN_CAN_RECOVER |
                      CAPSTAN_CAN_REMOVE | CAPSTAN_CAN_UNDO | CAPSTAN_CAN_RESUME,
      .device_features = CAPSTAN_FEATURE_RANDOM_ACCESS,
      .alignment = 512,
      .open =
          [](const capstan_open_params* params, capstan_device** device, capstan_error* error) {
            auto opened = make_device();
            if (opened->Open(*params, error) != 0) {
              return -1;
            }
            *device = reinterpret_cast<capstan_device*>(opened.release());
            return 0;
          },
      .submit =
          [](capstan_device* device, capstan_request* request, capstan_error* error) {
            return reinterpret_cast<HonestDevice*>(device)->Submit(request, error);
          },
      .close =
          [](capstan_device* device, uint32_t outcome, capstan_error* error) {
            const std::unique_ptr<HonestDevice> closed(reinterpret_cast<HonestDevice*>(device));
            return closed->Close(outcome, error);
          },
      .stat = HonestDevice::Stat,
      .remove = HonestDevice::Remove,
      .recover = HonestDevice::Recover,
      .configure = nullptr,
      .device_status = nullptr,
  };
  return &kPlugin;
}

}  // namespace capstan::test
