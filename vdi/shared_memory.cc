#include "vdi/shared_memory.h"

#include <cerrno>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vdi/memory_limits.h"

namespace capstan::vdi {
namespace {

namespace bip = boost::interprocess;

// What mapped_region asks of a thing it can map.
class MappableFd {
 public:
  explicit MappableFd(int fd) : fd_(fd) {}
  bip::mapping_handle_t get_mapping_handle() const {
    return bip::ipcdetail::mapping_handle_from_file_handle(fd_);
  }

 private:
  int fd_;
};

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

// Address space that nothing else can take between the choice of an address and its use.
class Reservation {
 public:
  // Room for `size` bytes at a multiple of `alignment`; address() is null if there is none.
  Reservation(std::size_t size, std::size_t alignment) {
    const std::size_t whole = size + alignment;
    void* base =
        ::mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
      return;
    }
    const auto start = reinterpret_cast<std::uintptr_t>(base);
    const std::uintptr_t aligned = (start + alignment - 1) / alignment * alignment;
    address_ = reinterpret_cast<void*>(aligned);
    size_ = size;
    if (aligned > start) {
      ::munmap(base, aligned - start);
    }
    const std::uintptr_t end = start + whole;
    if (end > aligned + size) {
      ::munmap(reinterpret_cast<void*>(aligned + size), end - aligned - size);
    }
  }
  ~Reservation() {
    if (address_ != nullptr) {
      ::munmap(address_, size_);
    }
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  void* address() const { return address_; }
  // From now on the addresses belong to what was mapped over them.
  void Release() { address_ = nullptr; }

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

std::size_t RoundUpToPage(std::size_t size) {
  const std::size_t page = bip::mapped_region::get_page_size();
  return (size + page - 1) / page * page;
}

}  // namespace

class SharedMemory::Mapping {
 public:
  explicit Mapping(bip::mapped_region mapped) : region(std::move(mapped)) {}
  bip::mapped_region region;
};

Result<SharedMemory> SharedMemory::Create(const char* name, std::uint64_t size,
                                          std::size_t alignment) {
  CAPSTAN_RETURN_IF_ERROR(CheckMemoryFor(size));
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) {
    return OsError(errno, "unable to create shared memory");
  }
  int outcome = 0;
  do {
    outcome = ::fallocate(fd.get(), 0, 0, static_cast<off_t>(size));
  } while (outcome != 0 && errno == EINTR);
  if (outcome != 0) {
    return OsError(errno, fmt::format("unable to reserve {} bytes of shared memory", size));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kSizeSeals | F_SEAL_SEAL) != 0) {
    return OsError(errno, "unable to seal shared memory");
  }
  return Map(std::move(fd), size, alignment);
}

Result<SharedMemory> SharedMemory::Adopt(UniqueFd fd, std::uint64_t size, std::size_t alignment) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    return OsError(errno, "unable to look at shared memory");
  }
  if (static_cast<std::uint64_t>(info.st_size) != size) {
    return Error(Code::kFailedPrecondition, "shared memory has {} bytes instead of {}",
                 info.st_size, size);
  }
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals) {
    return Error(Code::kFailedPrecondition, "shared memory is not sealed against a change of size");
  }
  // An honest peer has reserved all of it. Otherwise each page that we touch would be taken from
  // us.
  if (static_cast<std::uint64_t>(info.st_blocks) * 512 < size) {
    return Error(Code::kFailedPrecondition, "of {} bytes of shared memory only {} are reserved",
                 size, info.st_blocks * 512);
  }
  return Map(std::move(fd), size, alignment);
}

Result<SharedMemory> SharedMemory::Map(UniqueFd fd, std::uint64_t size, std::size_t alignment) {
  const std::size_t rounded = RoundUpToPage(size);
  Reservation place(rounded, alignment);
  if (place.address() == nullptr) {
    return OsError(errno, fmt::format("unable to find {} bytes of address space", rounded));
  }
  try {
    bip::mapped_region region(MappableFd(fd.get()), bip::read_write, 0, size, place.address(),
                              MAP_FIXED);
    place.Release();
    return SharedMemory(std::move(fd), std::make_unique<Mapping>(std::move(region)));
  } catch (const bip::interprocess_exception& failure) {
    return OsError(failure.get_native_error(),
                   fmt::format("unable to map {} bytes of shared memory", size));
  }
}

SharedMemory::SharedMemory(UniqueFd fd, std::unique_ptr<Mapping> mapping)
    : fd_(std::move(fd)), mapping_(std::move(mapping)) {}
SharedMemory::SharedMemory(SharedMemory&&) noexcept = default;
SharedMemory& SharedMemory::operator=(SharedMemory&&) noexcept = default;
SharedMemory::~SharedMemory() = default;

std::byte* SharedMemory::data() const {
  return static_cast<std::byte*>(mapping_->region.get_address());
}

std::uint64_t SharedMemory::size() const {
  return mapping_->region.get_size();
}

void SharedMemory::Populate() {
#if defined(MADV_POPULATE_WRITE)
  [[maybe_unused]] const int outcome =
      ::madvise(data(), RoundUpToPage(size()), MADV_POPULATE_WRITE);
#endif
}

}  // namespace capstan::vdi
