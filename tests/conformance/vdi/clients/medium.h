// Medium: what a device's commands are carried out on. Each client brings its own kind; the plain
// file that several of them use is here.
#pragma once

#include <cstdint>
#include <string>

#include "vdi.h"
#include "vdierror.h"

namespace vendor {

// Win32 numbers that vdi.h does not name.
enum CompletionNumber {
  kWriteFault = 29,
  kReadFault = 30,
  kEndOfMedia = 1100,
  kFilemarkDetected = 1101,
  kBeginningOfMedia = 1102,
  kNoDataDetected = 1104,
  kNoMediaInDrive = 1112,
  kEomOverflow = 1129
};

struct Completion {
  int code;
  unsigned long bytes;
  std::int64_t position;
};

inline Completion Done(unsigned long bytes = 0, std::int64_t position = 0) {
  return Completion{ERROR_SUCCESS, bytes, position};
}
inline Completion Failed(int code, unsigned long bytes = 0) {
  return Completion{code, bytes, 0};
}

class Medium {
 public:
  virtual ~Medium() {}
  virtual Completion Execute(const VDC_Command& command) = 0;
};

// Takes commands and carries them out, one after the other, until the device ends. Returns what
// ended it: VD_E_CLOSE if all is well at this end.
int Serve(ClientVirtualDevice* device, Medium* medium);

// A byte stream in a file, for pipe-like devices.
class SequentialFile : public Medium {
 public:
  SequentialFile() : descriptor_(-1) {}
  SequentialFile(const SequentialFile&) = delete;
  SequentialFile& operator=(const SequentialFile&) = delete;
  ~SequentialFile();

  // False, with a line on standard output, if it cannot be opened.
  bool Open(const std::string& path, bool for_writing);
  // Reads: 38 with what there is at the end. Writes: 112 when there is no room.
  Completion Execute(const VDC_Command& command) override;

 private:
  int descriptor_;
};

// Whole transfers, in spite of signals and pipes; the result is short at the end of the file or
// on an error, which is then in errno. `position` < 0: at the file's own position.
unsigned long ReadFully(int descriptor, std::uint8_t* data, unsigned long size,
                        std::int64_t position);
unsigned long WriteFully(int descriptor, const std::uint8_t* data, unsigned long size,
                         std::int64_t position);
// Completions for them. Durable: fsync, which pipes do not have and need not.
Completion ReadOutcome(unsigned long bytes, unsigned long size);
Completion WriteOutcome(unsigned long bytes, unsigned long size);
Completion Durable(int descriptor);

}  // namespace vendor
