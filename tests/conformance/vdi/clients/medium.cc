#include "medium.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace vendor {

int Serve(ClientVirtualDevice* device, Medium* medium) {
  VDC_Command* command = nullptr;
  int status;
  while ((status = device->GetCommand(90, &command)) == 0) {
    const Completion completion = medium->Execute(*command);
    status =
        device->CompleteCommand(command, completion.code, completion.bytes, completion.position);
    if (status != 0) {
      break;
    }
  }
  return status;
}

SequentialFile::~SequentialFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

bool SequentialFile::Open(const std::string& path, bool for_writing) {
  const int flags = for_writing ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
  descriptor_ = open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    std::printf("Failed to open: %s: %s\n", path.c_str(), std::strerror(errno));
  }
  return descriptor_ >= 0;
}

Completion SequentialFile::Execute(const VDC_Command& command) {
  const unsigned long size = static_cast<unsigned long>(command.size);
  switch (command.commandCode) {
    case VDC_Read:
      return ReadOutcome(ReadFully(descriptor_, command.buffer, size, -1), size);
    case VDC_Write:
      return WriteOutcome(WriteFully(descriptor_, command.buffer, size, -1), size);
    case VDC_Flush:
      return Durable(descriptor_);
    case VDC_ClearError:
      return Done();
    default:
      return Failed(ERROR_NOT_SUPPORTED);
  }
}

unsigned long ReadFully(int descriptor, std::uint8_t* data, unsigned long size,
                        std::int64_t position) {
  unsigned long done = 0;
  errno = 0;
  while (done < size) {
    const ssize_t part =
        position < 0 ? read(descriptor, data + done, size - done)
                     : pread(descriptor, data + done, size - done,
                             static_cast<off_t>(position + static_cast<std::int64_t>(done)));
    if (part == 0 || (part < 0 && errno != EINTR)) {
      break;
    }
    done += part > 0 ? static_cast<unsigned long>(part) : 0;
  }
  return done;
}

unsigned long WriteFully(int descriptor, const std::uint8_t* data, unsigned long size,
                         std::int64_t position) {
  unsigned long done = 0;
  errno = 0;
  while (done < size) {
    const ssize_t part =
        position < 0 ? write(descriptor, data + done, size - done)
                     : pwrite(descriptor, data + done, size - done,
                              static_cast<off_t>(position + static_cast<std::int64_t>(done)));
    if (part == 0 || (part < 0 && errno != EINTR)) {
      break;
    }
    done += part > 0 ? static_cast<unsigned long>(part) : 0;
  }
  return done;
}

Completion ReadOutcome(unsigned long bytes, unsigned long size) {
  if (bytes == size) {
    return Done(bytes);
  }
  return Failed(errno != 0 && errno != EINTR ? static_cast<int>(kReadFault) : ERROR_HANDLE_EOF,
                bytes);
}

Completion WriteOutcome(unsigned long bytes, unsigned long size) {
  if (bytes == size) {
    return Done(bytes);
  }
  const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
  return Failed(full ? ERROR_DISK_FULL : static_cast<int>(kWriteFault), bytes);
}

Completion Durable(int descriptor) {
  return fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS ? Done() : Failed(kWriteFault);
}

}  // namespace vendor
