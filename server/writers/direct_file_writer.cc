#include "server/writers/direct_file_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>

#include "server/writers/positioned_io.h"

namespace capstan::writers {
DirectFileWriter::DirectFileWriter(int fd, const std::string& path)
    : fd_(fd), direct_fd_(::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW)) {
  if (!direct()) {
    return;
  }
  MutexLock lock(mutex_);
  for (Buffer& buffer : buffers_) {
    buffer.memory.reset(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, kBufferBytes)));
    if (buffer.memory == nullptr) {
      direct_fd_.Reset();
      return;
    }
    free_.push_back(&buffer);
  }
  for (std::size_t i = 0; i < kBufferCount; ++i) {
    threads_.emplace_back([this]() noexcept { Work(); });
  }
}

DirectFileWriter::~DirectFileWriter() {
  MutexLock lock(mutex_);
  stopping_ = true;
  filled_.NotifyAll();
}

Status DirectFileWriter::Write(std::uint64_t offset, std::span<const std::byte> source) {
  const std::uint64_t end = offset + source.size();
  const std::uint64_t direct_begin = (offset + kPageBytes - 1) / kPageBytes * kPageBytes;
  const std::uint64_t direct_end = end / kPageBytes * kPageBytes;
  if (!direct() || direct_begin >= direct_end) {
    return Keep(WriteFully(fd_, offset, source));
  }
  const auto head = static_cast<std::size_t>(direct_begin - offset);
  const auto middle = static_cast<std::size_t>(direct_end - direct_begin);
  CAPSTAN_RETURN_IF_ERROR(Keep(WriteFully(fd_, offset, source.first(head))));
  CAPSTAN_RETURN_IF_ERROR(WriteDirect(direct_begin, source.subspan(head, middle)));
  return Keep(WriteFully(fd_, direct_end, source.subspan(head + middle)));
}

Status DirectFileWriter::WriteDirect(std::uint64_t offset, std::span<const std::byte> source) {
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
    }
    buffer->offset = offset;
    buffer->length = std::min(source.size(), kBufferBytes);
    std::memcpy(buffer->memory.get(), source.data(), buffer->length);
    offset += buffer->length;
    source = source.subspan(buffer->length);
    MutexLock lock(mutex_);
    full_.push_back(buffer);
    filled_.NotifyOne();
  }
  return OkStatus();
}

Status DirectFileWriter::Drain() {
  MutexLock lock(mutex_);
  while (direct() && free_.size() != kBufferCount) {
    freed_.Wait(mutex_);
  }
  return failure_;
}

void DirectFileWriter::Work() {
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
    Status status = WriteBuffer(*buffer);
    MutexLock lock(mutex_);
    if (!status.ok() && failure_.ok()) {
      failure_ = std::move(status);
    }
    free_.push_back(buffer);
    freed_.NotifyAll();
  }
}

Status DirectFileWriter::WriteBuffer(const Buffer& buffer) const {
  const std::span<const std::byte> bytes(buffer.memory.get(), buffer.length);
  Status status = WriteFully(direct_fd_.get(), buffer.offset, bytes);
  if (status.os_error() == EINVAL) {
    // Some file systems take O_DIRECT and refuse the transfer. These pages are of no other piece.
    return WriteFully(fd_, buffer.offset, bytes);
  }
  return status;
}

Status DirectFileWriter::Keep(Status status) {
  if (status.ok()) {
    return status;
  }
  MutexLock lock(mutex_);
  if (failure_.ok()) {
    failure_ = std::move(status);
  }
  return failure_;
}

}  // namespace capstan::writers
