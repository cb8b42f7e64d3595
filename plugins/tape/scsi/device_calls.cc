#include "plugins/tape/scsi/device_calls.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace capstan::tape {
namespace {

template <typename Call>
auto Uninterrupted(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) {
    result = call();
  }
  return result < 0 ? static_cast<decltype(result)>(-errno) : result;
}

class KernelCalls final : public DeviceCalls {
 public:
  int Open(const std::string& path, int flags) override {
    return Uninterrupted([&] { return ::open(path.c_str(), flags); });
  }
  void Close(int descriptor) override { ::close(descriptor); }
  long Read(int descriptor, std::span<std::byte> buffer) override {
    return Uninterrupted([&] { return ::read(descriptor, buffer.data(), buffer.size()); });
  }
  long Write(int descriptor, std::span<const std::byte> block) override {
    return Uninterrupted([&] { return ::write(descriptor, block.data(), block.size()); });
  }
  int Control(int descriptor, unsigned long request, void* argument) override {
    return Uninterrupted([&] { return ::ioctl(descriptor, request, argument); });
  }
};

}  // namespace

std::unique_ptr<DeviceCalls> MakeKernelCalls() {
  return std::make_unique<KernelCalls>();
}

}  // namespace capstan::tape
