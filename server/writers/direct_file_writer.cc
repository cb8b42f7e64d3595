#include "server/writers/direct_file_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>

#include "server/writers/positioned_io.h"

namespace capstan::writers {
namespace {

constexpr std::size_t kAlignment = 4096;  // enough for every block device in use

}  // namespace

struct DirectFileWriter::AlignedBuffer {
  AlignedBuffer() : data(static_cast<std::byte*>(std::aligned_alloc(kAlignment, kBufferSize))) {
    CAPSTAN_CHECK(data != nullptr);
  }
  ~AlignedBuffer() { std::free(data); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  std::byte* const data;
};

DirectFileWriter::DirectFileWriter(int fd, const std::string& path)
    : fd_(fd),
      direct_fd_(::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW)),
      direct_(direct_fd_.valid()) {}

DirectFileWriter::~DirectFileWriter() = default;

std::unique_ptr<DirectFileWriter::AlignedBuffer> DirectFileWriter::Take() {
  MutexLock lock(mutex_);
  while (free_.empty() && made_ == kBuffers) {
    returned_.Wait(mutex_);  // ends when the write of another thread does
  }
  if (free_.empty()) {
    ++made_;
    return std::make_unique<AlignedBuffer>();
  }
  auto buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void DirectFileWriter::Return(std::unique_ptr<AlignedBuffer> buffer) {
  {
    MutexLock lock(mutex_);
    free_.push_back(std::move(buffer));
  }
  returned_.NotifyOne();
}

Result<std::size_t> DirectFileWriter::WriteDirect(std::uint64_t offset,
                                                  std::span<const std::byte> source) {
  const std::size_t whole = source.size() / kAlignment * kAlignment;
  auto buffer = Take();
  std::size_t done = 0;
  Status status;
  while (status.ok() && done < whole) {
    const std::size_t size = std::min(whole - done, kBufferSize);
    std::memcpy(buffer->data, source.data() + done, size);
    status = WriteFully(direct_fd_.get(), offset + done, std::span(buffer->data, size));
    done += status.ok() ? size : 0;
  }
  Return(std::move(buffer));
  if (status.os_error() == EINVAL) {
    direct_.store(false, std::memory_order_relaxed);  // larger blocks than ours, or none at all
    return done;
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(status));
  return done;
}

Status DirectFileWriter::Write(std::uint64_t offset, std::span<const std::byte> source) {
  std::size_t done = 0;
  if (direct() && offset % kAlignment == 0 && source.size() >= kAlignment) {
    CAPSTAN_ASSIGN_OR_RETURN(done, WriteDirect(offset, source));
  }
  return done == source.size() ? OkStatus() : WriteFully(fd_, offset + done, source.subspan(done));
}

}  // namespace capstan::writers
