// DeviceCalls: the system calls on a device node, so that tests can answer in the kernel's place.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace capstan::tape {

// Everything returns what the call returns, or -errno. Interrupted calls are made again.
class DeviceCalls {
 public:
  virtual ~DeviceCalls() = default;

  virtual int Open(const std::string& path, int flags) = 0;
  virtual void Close(int descriptor) = 0;
  virtual long Read(int descriptor, std::span<std::byte> buffer) = 0;
  virtual long Write(int descriptor, std::span<const std::byte> block) = 0;
  virtual int Control(int descriptor, unsigned long request, void* argument) = 0;
};

std::unique_ptr<DeviceCalls> MakeKernelCalls();

}  // namespace capstan::tape
