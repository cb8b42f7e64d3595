// A private zone in front of each buffer: the client puts a header of its own there and stores both
// in one write, without copying anything. It also wants the data aligned for direct I/O.
//
//   prefix_client {--backup|--restore} DATABASE --file PATH [as in session.h]
//
// The file is a sequence of records: a header of 512 bytes, then as many bytes as it says.
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "arguments.h"
#include "medium.h"
#include "session.h"

namespace {

const uint32_t kPrefixSize = 512;
const uint32_t kAlignment = 4096;
const std::uint64_t kMagic = 0x5849464552504456;  // "VDPREFIX"

struct RecordHeader {
  std::uint64_t magic;
  std::uint64_t number;
  std::uint64_t size;
  std::uint8_t reserved[kPrefixSize - 24];
};
static_assert(sizeof(RecordHeader) == kPrefixSize, "it fills the prefix zone");

class RecordFile : public vendor::Medium {
 public:
  explicit RecordFile(int descriptor)
      : descriptor_(descriptor), number_(0), left_in_record_(0), misaligned_(0) {}
  ~RecordFile() { close(descriptor_); }

  unsigned long misaligned() const { return misaligned_; }
  std::uint64_t records() const { return number_; }

  vendor::Completion Execute(const VDC_Command& command) override {
    switch (command.commandCode) {
      case VDC_Read:
        return Read(command.buffer, static_cast<unsigned long>(command.size));
      case VDC_Write:
        return Write(command.buffer, static_cast<unsigned long>(command.size));
      case VDC_Flush:
        return vendor::Durable(descriptor_);
      case VDC_ClearError:
        return vendor::Done();
      default:
        return vendor::Failed(ERROR_NOT_SUPPORTED);
    }
  }

 private:
  vendor::Completion Write(std::uint8_t* data, unsigned long size) {
    CheckAlignment(data);
    RecordHeader header = {kMagic, number_++, size, {}};
    std::memcpy(data - kPrefixSize, &header, sizeof header);
    const unsigned long whole = kPrefixSize + size;
    const unsigned long written = vendor::WriteFully(descriptor_, data - kPrefixSize, whole, -1);
    return vendor::WriteOutcome(written == whole ? size : 0, size);
  }

  // Reads need not have the sizes of the writes: records are joined to a stream.
  vendor::Completion Read(std::uint8_t* data, unsigned long size) {
    CheckAlignment(data);
    unsigned long done = 0;
    while (done < size && (left_in_record_ > 0 || NextRecord())) {
      const unsigned long wanted = size - done < left_in_record_ ? size - done : left_in_record_;
      const unsigned long part = vendor::ReadFully(descriptor_, data + done, wanted, -1);
      done += part;
      left_in_record_ -= part;
      if (part < wanted) {
        break;
      }
    }
    return done == size ? vendor::Done(done) : vendor::Failed(ERROR_HANDLE_EOF, done);
  }

  bool NextRecord() {
    RecordHeader header;
    if (vendor::ReadFully(descriptor_, reinterpret_cast<std::uint8_t*>(&header), sizeof header,
                          -1) != sizeof header ||
        header.magic != kMagic || header.number != number_) {
      return false;
    }
    ++number_;
    left_in_record_ = header.size;
    return true;
  }

  void CheckAlignment(const std::uint8_t* data) {
    misaligned_ += reinterpret_cast<std::uintptr_t>(data) % kAlignment != 0 ? 1 : 0;
  }

  const int descriptor_;
  std::uint64_t number_;  // of the next record
  unsigned long left_in_record_;
  unsigned long misaligned_;
};

}  // namespace

int main(int argc, char** argv) {
  const vendor::Arguments arguments(argc, argv);
  vendor::Session session(arguments);
  session.config.prefixZoneSize = kPrefixSize;
  session.config.alignment = kAlignment;
  if (!session.Begin() || !session.AwaitConfiguration()) {
    return session.End(false);
  }
  std::printf("Prefix zone of %u, alignment of %u\n", session.config.prefixZoneSize,
              session.config.alignment);
  const int flags = session.backup() ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
  const int descriptor = open(arguments.Required("file").c_str(), flags | O_CLOEXEC, 0666);
  ClientVirtualDevice* device = descriptor < 0 ? nullptr : session.Open(0);
  if (device == nullptr) {
    return session.End(false);
  }
  RecordFile file(descriptor);
  const int status = vendor::Serve(device, &file);
  vendor::Session::Report(0, status);
  std::printf("Records: %lu, misaligned: %lu\n", static_cast<unsigned long>(file.records()),
              file.misaligned());
  return session.End(status == VD_E_CLOSE && file.misaligned() == 0);
}
