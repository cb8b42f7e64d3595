#include "tools/plugin_check/guarded_buffer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

std::uint32_t alignment_min = 4096;

std::size_t PageSize() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

unsigned char ByteAt(std::uint64_t position, unsigned seed) {
  std::uint64_t mixed = (position / 8 + 1) * 0x9E3779B97F4A7C15U + seed * 0xBF58476D1CE4E5B9U;
  mixed ^= mixed >> 29U;
  return static_cast<unsigned char>(mixed >> (position % 8 * 8));
}

}  // namespace

void GuardedBuffer::Align(std::uint32_t alignment) {
  alignment_min = std::max(alignment, alignment_min);
}

GuardedBuffer::GuardedBuffer(std::size_t size) : size_(size) {
  const std::size_t alignment = alignment_min;
  const std::size_t page = PageSize();
  const std::size_t inner = (size + alignment + page - 1) / page * page;
  mapped_ = inner + 2 * page;
  void* const base =
      ::mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    Unjudged("no memory for a buffer of {} bytes: {}", size, std::strerror(errno));
  }
  base_ = static_cast<unsigned char*>(base);
  ::mprotect(base_ + page, inner, PROT_READ | PROT_WRITE);
  // As close to the guard behind as the alignment lets it be.
  const auto end = reinterpret_cast<std::uintptr_t>(base_) + page + inner;
  const std::uintptr_t begin = (end - size) / alignment * alignment;
  data_ = reinterpret_cast<unsigned char*>(begin);
}

GuardedBuffer::GuardedBuffer(GuardedBuffer&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      mapped_(other.mapped_),
      data_(other.data_),
      size_(other.size_) {}

GuardedBuffer::~GuardedBuffer() {
  if (base_ != nullptr) {
    // Only the memory is given back. A plugin that still looks there is found by the clause that
    // forbids it, and not by a crash in all the others.
    ::mprotect(base_, mapped_, PROT_READ | PROT_WRITE);
    ::madvise(base_, mapped_, MADV_DONTNEED);
  }
}

void GuardedBuffer::Fill(std::uint64_t position, unsigned seed) {
  for (std::size_t index = 0; index < size_; ++index) {
    data_[index] = ByteAt(position + index, seed);
  }
}

void GuardedBuffer::Zero() {
  std::memset(data_, 0, size_);
}

std::string GuardedBuffer::Difference(std::uint64_t position, unsigned seed,
                                      std::size_t count) const {
  for (std::size_t index = 0; index < count; ++index) {
    if (data_[index] != ByteAt(position + index, seed)) {
      return fmt::format("byte {} of the medium is {:#04x} and was written as {:#04x}",
                         position + index, data_[index], ByteAt(position + index, seed));
    }
  }
  return "";
}

void GuardedBuffer::ForbidWriting() {
  ::mprotect(base_ + PageSize(), mapped_ - 2 * PageSize(), PROT_READ);
}

void GuardedBuffer::ForbidTouching() {
  ::mprotect(base_, mapped_, PROT_NONE);
}

}  // namespace capstan::plugin_check
