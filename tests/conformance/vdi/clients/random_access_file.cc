#include "random_access_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace vendor {

RandomAccessFile::~RandomAccessFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

bool RandomAccessFile::Open(const std::string& path, bool for_writing) {
  writing_ = for_writing;
  descriptor_ = open(path.c_str(), (for_writing ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    std::printf("Failed to open: %s: %s\n", path.c_str(), std::strerror(errno));
  }
  return descriptor_ >= 0;
}

Completion RandomAccessFile::Execute(const VDC_Command& command) {
  const unsigned long size = static_cast<unsigned long>(command.size);
  unsigned long bytes = 0;
  switch (command.commandCode) {
    case VDC_Read:
      bytes = ReadFully(descriptor_, command.buffer, size, command.position);
      position_ = command.position + static_cast<std::int64_t>(bytes);
      return ReadOutcome(bytes, size);
    case VDC_Write:
      bytes = WriteFully(descriptor_, command.buffer, size, command.position);
      position_ = command.position + static_cast<std::int64_t>(bytes);
      return WriteOutcome(bytes, size);
    case VDC_GetPosition:
      return Done(0, position_);
    case VDC_SetPosition:
      return SetPosition(command);
    case VDC_Flush:
      return Flush();
    case VDC_ClearError:
      return Done();
    default:
      return Failed(ERROR_NOT_SUPPORTED);
  }
}

Completion RandomAccessFile::SetPosition(const VDC_Command& command) {
  const std::int64_t base = command.size == VDC_Current ? position_
                            : command.size == VDC_End   ? lseek(descriptor_, 0, SEEK_END)
                                                        : 0;
  if (base < 0 || base + command.position < 0) {
    return Failed(ERROR_HANDLE_EOF);
  }
  position_ = base + command.position;
  return Done(0, position_);
}

Completion RandomAccessFile::Flush() {
  if (writing_ && ftruncate(descriptor_, static_cast<off_t>(position_)) != 0) {
    return Failed(kWriteFault);
  }
  return Durable(descriptor_);
}

}  // namespace vendor
