// SharedMemory: one sealed memfd, mapped. The only place that knows Boost.Interprocess.
//
// The creator reserves every page at once, so that want of memory is a Status here and not a
// SIGBUS later, and seals the size, so that no peer can shrink it under us.
// Ownership: the object owns the descriptor and the mapping; moving keeps the address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::vdi {

class SharedMemory {
 public:
  // `size` zeroed bytes at an address that is a multiple of `alignment` (a power of two, at least
  // 1). kResourceExhausted: no memory, or a limit of this process or its control group.
  static Result<SharedMemory> Create(const char* name, std::uint64_t size, std::size_t alignment);

  // Maps what a peer created. kFailedPrecondition: its size is not `size`, or can still change,
  // or its pages are not reserved.
  static Result<SharedMemory> Adopt(UniqueFd fd, std::uint64_t size, std::size_t alignment);

  SharedMemory(SharedMemory&&) noexcept;
  SharedMemory& operator=(SharedMemory&&) noexcept;
  ~SharedMemory();

  std::byte* data() const;
  std::uint64_t size() const;
  int fd() const { return fd_.get(); }

  // Enters every page into this process's page table, so that the first touch is no fault.
  // An optimisation: a kernel that cannot is not an error.
  void Populate();

 private:
  class Mapping;
  SharedMemory(UniqueFd fd, std::unique_ptr<Mapping> mapping);
  static Result<SharedMemory> Map(UniqueFd fd, std::uint64_t size, std::size_t alignment);

  UniqueFd fd_;
  std::unique_ptr<Mapping> mapping_;
};

}  // namespace capstan::vdi
