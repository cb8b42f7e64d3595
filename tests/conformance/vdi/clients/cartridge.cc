#include "cartridge.h"

#include <algorithm>

#include <fcntl.h>
#include <unistd.h>

namespace vendor {
namespace {

const std::uint32_t kDataKind = 0x41544144;  // "DATA"
const std::uint32_t kMarkKind = 0x4b52414d;  // "MARK"

struct RecordHeader {
  std::uint32_t kind;
  std::uint32_t size;
};

bool WriteHeader(int descriptor, std::uint64_t offset, const RecordHeader& header) {
  return WriteFully(descriptor, reinterpret_cast<const std::uint8_t*>(&header), sizeof header,
                    static_cast<std::int64_t>(offset)) == sizeof header;
}

bool ReadHeader(int descriptor, std::uint64_t offset, RecordHeader* header) {
  return ReadFully(descriptor, reinterpret_cast<std::uint8_t*>(header), sizeof *header,
                   static_cast<std::int64_t>(offset)) == sizeof *header;
}

}  // namespace

Cartridge::Cartridge(const Format& format)
    : format_(format), descriptor_(-1), current_(0), within_(0) {}

Cartridge::~Cartridge() {
  Unload();
}

void Cartridge::Unload() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
  descriptor_ = -1;
  entries_.clear();
  current_ = 0;
  within_ = 0;
}

bool Cartridge::Load(const std::string& path, bool create) {
  Unload();
  descriptor_ = open(path.c_str(), (create ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0666);
  return descriptor_ >= 0 && ReadIndex();
}

bool Cartridge::ReadIndex() {
  const off_t size = lseek(descriptor_, 0, SEEK_END);
  std::uint64_t offset = 0;
  std::int64_t address = 0;
  RecordHeader header;
  while (ReadHeader(descriptor_, offset, &header)) {
    const Entry entry = {header.kind == kMarkKind, offset, header.size, address};
    offset += sizeof header + header.size;
    if ((header.kind != kMarkKind && header.kind != kDataKind) ||
        offset > static_cast<std::uint64_t>(size)) {
      return false;
    }
    address += BlocksOf(entry);
    entries_.push_back(entry);
  }
  return true;
}

std::int64_t Cartridge::BlocksOf(const Entry& entry) const {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(entry.size / format_.block_size));
}

std::uint64_t Cartridge::OffsetHere() const {
  if (!AtEnd()) {
    const Entry& entry = entries_[current_];
    return within_ == 0 ? entry.offset : entry.offset + sizeof(RecordHeader) + within_;
  }
  return entries_.empty() ? 0
                          : entries_.back().offset + sizeof(RecordHeader) + entries_.back().size;
}

Completion Cartridge::Read(std::uint8_t* data, unsigned long size) {
  unsigned long done = 0;
  while (done < size) {
    if (AtEnd()) {
      return Failed(kNoDataDetected, done);
    }
    const Entry& entry = entries_[current_];
    if (entry.is_mark) {
      ++current_;
      return Failed(kFilemarkDetected, done);
    }
    const unsigned long wanted = std::min<unsigned long>(size - done, entry.size - within_);
    const std::uint64_t from = entry.offset + sizeof(RecordHeader) + within_;
    if (ReadFully(descriptor_, data + done, wanted, static_cast<std::int64_t>(from)) != wanted) {
      return Failed(kReadFault, done);
    }
    done += wanted;
    within_ += wanted;
    if (within_ == entry.size) {
      ++current_;
      within_ = 0;
    }
  }
  return Done(done);
}

Completion Cartridge::Write(const std::uint8_t* data, unsigned long size) {
  return Append(false, data, size);
}

Completion Cartridge::WriteMark() {
  const std::vector<std::uint8_t> body(format_.soft_mark_size, 0);
  Completion completion = Append(true, body.data(), body.size());
  completion.bytes = 0;
  return completion;
}

Completion Cartridge::Append(bool is_mark, const std::uint8_t* data, unsigned long size) {
  const std::uint64_t offset = OffsetHere();
  const std::uint64_t end = offset + sizeof(RecordHeader) + size;
  if (format_.capacity != 0 && end > format_.capacity) {
    return Failed(kEomOverflow);
  }
  if (!CutHere()) {
    return Failed(kWriteFault);
  }
  const RecordHeader header = {is_mark ? kMarkKind : kDataKind, static_cast<std::uint32_t>(size)};
  if (!WriteHeader(descriptor_, offset, header) ||
      WriteFully(descriptor_, data, size, static_cast<std::int64_t>(offset + sizeof header)) !=
          size) {
    return Failed(ERROR_DISK_FULL);
  }
  const std::int64_t address =
      entries_.empty() ? 0 : entries_.back().address + BlocksOf(entries_.back());
  entries_.push_back(Entry{is_mark, offset, size, address});
  current_ = entries_.size();
  const bool near_end = format_.capacity != 0 && end + format_.early_warning > format_.capacity;
  return near_end ? Failed(kEndOfMedia, size) : Done(size);
}

bool Cartridge::CutHere() {
  if (AtEnd()) {
    return true;
  }
  const std::uint64_t offset = OffsetHere();
  if (within_ > 0) {
    Entry& cut = entries_[current_];
    cut.size = within_;
    const RecordHeader header = {kDataKind, static_cast<std::uint32_t>(within_)};
    if (!WriteHeader(descriptor_, cut.offset, header)) {
      return false;
    }
    ++current_;
    within_ = 0;
  }
  entries_.resize(current_);
  return ftruncate(descriptor_, static_cast<off_t>(offset)) == 0;
}

int Cartridge::StepForwards() {
  if (AtEnd()) {
    return kNoDataDetected;
  }
  const Entry& entry = entries_[current_];
  within_ += entry.is_mark ? entry.size : format_.block_size;
  if (within_ >= entry.size) {
    ++current_;
    within_ = 0;
  }
  return entry.is_mark ? static_cast<int>(kFilemarkDetected) : ERROR_SUCCESS;
}

int Cartridge::StepBackwards() {
  if (within_ == 0 && current_ == 0) {
    return kBeginningOfMedia;
  }
  if (within_ == 0) {
    --current_;
    if (entries_[current_].is_mark) {
      return kFilemarkDetected;
    }
    within_ = entries_[current_].size;
  }
  within_ -= std::min<std::uint64_t>(within_, format_.block_size);
  return ERROR_SUCCESS;
}

Completion Cartridge::SkipMarks(std::int32_t count) {
  for (std::int32_t left = std::abs(count); left > 0;) {
    const int passed = count > 0 ? StepForwards() : StepBackwards();
    if (passed == kFilemarkDetected) {
      --left;
    } else if (passed != ERROR_SUCCESS) {
      return Failed(passed);
    }
  }
  return Done();
}

Completion Cartridge::SkipBlocks(std::int32_t count) {
  for (std::int32_t left = std::abs(count); left > 0; --left) {
    const int passed = count > 0 ? StepForwards() : StepBackwards();
    if (passed != ERROR_SUCCESS) {
      return Failed(passed);
    }
  }
  return Done();
}

Completion Cartridge::Rewind() {
  current_ = 0;
  within_ = 0;
  return Done();
}

Completion Cartridge::GetPosition() const {
  std::int64_t address = 0;
  if (!AtEnd()) {
    address = entries_[current_].address + static_cast<std::int64_t>(within_ / format_.block_size);
  } else if (!entries_.empty()) {
    address = entries_.back().address + BlocksOf(entries_.back());
  }
  return Done(0, address);
}

Completion Cartridge::SetPosition(std::int64_t address) {
  const std::vector<Entry>::const_iterator behind = std::upper_bound(
      entries_.begin(), entries_.end(), address,
      [](std::int64_t wanted, const Entry& entry) { return wanted < entry.address; });
  current_ = entries_.size();
  within_ = 0;
  if (behind != entries_.begin()) {
    const Entry& entry = *(behind - 1);
    const std::int64_t blocks = address - entry.address;
    if (blocks < BlocksOf(entry)) {
      current_ = static_cast<std::size_t>(behind - 1 - entries_.begin());
      within_ = static_cast<std::uint64_t>(blocks) * format_.block_size;
    }
  }
  const Completion reached = GetPosition();
  return reached.position == address ? reached : Failed(kNoDataDetected);
}

Completion Cartridge::Flush() {
  return Durable(descriptor_);
}

}  // namespace vendor
