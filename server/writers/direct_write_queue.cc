#include "server/writers/direct_write_queue.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

#include "server/writers/positioned_io.h"
#include "vdi/base/aligned_bytes.h"

namespace capstan::writers {
namespace {

constexpr std::uint64_t kPageBytes = 4096;  // covers what disks ask of direct I/O

// By its descriptor: another file may stand at its path by now.
UniqueFd OpenDirect(int fd) {
  const std::string same = fmt::format("/proc/self/fd/{}", fd);
  return UniqueFd(::open(same.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
}

}  // namespace

FilledFile::FilledFile(int fd, std::string path)
    : fd_(fd), path_(std::move(path)), direct_fd_(OpenDirect(fd_)) {}

FilledFile::FilledFile(UniqueFd fd, std::string path)
    : owned_fd_(std::move(fd)),
      fd_(owned_fd_.get()),
      path_(std::move(path)),
      direct_fd_(OpenDirect(fd_)) {}

DirectWriteQueue::DirectWriteQueue(Explain explain) : explain_(std::move(explain)) {
  MutexLock lock(mutex_);
  for (Buffer& buffer : buffers_) {
    buffer.memory.reset(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, kBufferBytes)));
    has_buffers_ = has_buffers_ && buffer.memory != nullptr;
    free_.push_back(&buffer);
  }
  for (std::size_t i = 0; has_buffers_ && i < kBufferCount; ++i) {
    threads_.emplace_back([this]() noexcept { Work(); });
  }
}

DirectWriteQueue::~DirectWriteQueue() {
  MutexLock lock(mutex_);
  stopping_ = true;
  filled_.NotifyAll();
}

Status DirectWriteQueue::Write(const std::shared_ptr<const FilledFile>& file, std::uint64_t offset,
                               std::span<const std::byte> source) {
  const std::uint64_t end = offset + source.size();
  const std::uint64_t direct_begin = (offset + kPageBytes - 1) / kPageBytes * kPageBytes;
  const std::uint64_t direct_end = end / kPageBytes * kPageBytes;
  if (!file->direct() || !has_buffers_ || direct_begin >= direct_end) {
    return WriteCached(*file, offset, source);
  }
  const auto head = static_cast<std::size_t>(direct_begin - offset);
  const auto middle = static_cast<std::size_t>(direct_end - direct_begin);
  CAPSTAN_RETURN_IF_ERROR(WriteCached(*file, offset, source.first(head)));
  CAPSTAN_RETURN_IF_ERROR(WriteDirect(file, direct_begin, source.subspan(head, middle)));
  return WriteCached(*file, direct_end, source.subspan(head + middle));
}

Status DirectWriteQueue::WriteCached(const FilledFile& file, std::uint64_t offset,
                                     std::span<const std::byte> source) {
  return Keep(file, WriteFully(file.fd_, offset, source));
}

Status DirectWriteQueue::WriteDirect(const std::shared_ptr<const FilledFile>& file,
                                     std::uint64_t offset, std::span<const std::byte> source) {
  while (!source.empty()) {
    Buffer* buffer = nullptr;
    {
      MutexLock lock(mutex_);
      while (free_.empty()) {
        freed_.Wait(mutex_);
      }
      CAPSTAN_RETURN_IF_ERROR(failure_);
      buffer = free_.back();
      free_.pop_back();
      buffer->ticket = ++last_ticket_;
    }
    buffer->file = file;
    buffer->offset = offset;
    buffer->length = std::min(source.size(), kBufferBytes);
    CopyBytes({buffer->memory.get(), buffer->length}, source.first(buffer->length));
    offset += buffer->length;
    source = source.subspan(buffer->length);
    MutexLock lock(mutex_);
    full_.push_back(buffer);
    filled_.NotifyOne();
  }
  return OkStatus();
}

Status DirectWriteQueue::Drain() {
  MutexLock lock(mutex_);
  const auto is_before = [limit = last_ticket_](const Buffer& buffer) {
    return buffer.ticket != 0 && buffer.ticket <= limit;
  };
  while (std::ranges::any_of(buffers_, is_before)) {
    freed_.Wait(mutex_);
  }
  return failure_;
}

void DirectWriteQueue::Work() {
  while (true) {
    Buffer* buffer = nullptr;
    {
      MutexLock lock(mutex_);
      while (full_.empty() && !stopping_) {
        filled_.Wait(mutex_);
      }
      if (full_.empty()) {
        return;
      }
      buffer = full_.front();
      full_.erase(full_.begin());
    }
    {
      const auto file = std::exchange(buffer->file, nullptr);
      static_cast<void>(Keep(*file, WriteBuffer(*file, *buffer)).ok());
    }  // closed before anybody hears that it is written, and without the lock
    MutexLock lock(mutex_);
    buffer->ticket = 0;
    free_.push_back(buffer);
    freed_.NotifyAll();
  }
}

Status DirectWriteQueue::WriteBuffer(const FilledFile& file, const Buffer& buffer) {
  const std::span<const std::byte> bytes(buffer.memory.get(), buffer.length);
  Status status = WriteFully(file.direct_fd_.get(), buffer.offset, bytes);
  if (status.os_error() == EINVAL) {
    // Some file systems take O_DIRECT and refuse the transfer. These pages are of no other piece.
    return WriteFully(file.fd_, buffer.offset, bytes);
  }
  return status;
}

Status DirectWriteQueue::Keep(const FilledFile& file, const Status& status) {
  MutexLock lock(mutex_);
  if (failure_.ok() && !status.ok()) {
    failure_ = explain_(file, status);
  }
  return failure_;
}

}  // namespace capstan::writers
