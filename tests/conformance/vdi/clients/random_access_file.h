// A file with positions, for disk-like devices.
#pragma once

#include <string>

#include "medium.h"

namespace vendor {

class RandomAccessFile : public Medium {
 public:
  RandomAccessFile() : descriptor_(-1), writing_(false), position_(0) {}
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;
  ~RandomAccessFile();

  // Does not shorten a file that is there: Flush sets the end of what is written over it.
  bool Open(const std::string& path, bool for_writing);
  Completion Execute(const VDC_Command& command) override;

 private:
  Completion SetPosition(const VDC_Command& command);
  Completion Flush();

  int descriptor_;
  bool writing_;
  std::int64_t position_;  // behind the last transfer, or as set
};

}  // namespace vendor
