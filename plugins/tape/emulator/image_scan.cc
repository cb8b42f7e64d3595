#include "plugins/tape/emulator/image_scan.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <unistd.h>

namespace capstan::tape {
namespace {

constexpr std::uint32_t kGap = 0xFFFFFFFE;
constexpr std::uint32_t kHalfGap = 0xFFFEFFFF;
constexpr std::uint32_t kEndWord = 0xFFFFFFFF;
constexpr std::uint32_t kLengthMask = 0x0FFFFFFF;
// How many filemarks are looked over for an intact record behind a damaged one.
constexpr int kMarksBehindDamageMax = 1'000;

// What a length word introduces.
enum class WordKind { kFilemark, kBlock, kBadBlock, kSkippedRecord, kMarker, kEndOfMedium };

WordKind KindOf(std::uint32_t word) {
  const std::uint32_t word_class = word >> 28U;
  if (word == 0) {
    return WordKind::kFilemark;
  }
  if (word == kEndWord) {
    return WordKind::kEndOfMedium;
  }
  switch (word_class) {
    case 0:
      return WordKind::kBlock;
    case 8:
      return WordKind::kBadBlock;
    case 7:
    case 15:
      return WordKind::kMarker;
    default:
      return WordKind::kSkippedRecord;
  }
}

class Scanner {
 public:
  Scanner(int fd, std::uint64_t file_size, ImageScan* scan)
      : fd_(fd), size_(file_size), scan_(scan) {}

  // errno, or 0.
  int Run() {
    std::uint64_t offset = 0;
    while (error_ == 0) {
      const std::optional<std::uint32_t> word = Word(offset);
      if (!word) {
        scan_->torn = scan_->torn || offset < size_;
        break;
      }
      const WordKind kind = KindOf(*word);
      if (kind == WordKind::kEndOfMedium) {
        break;
      }
      if (kind == WordKind::kMarker) {
        offset += *word == kHalfGap ? 2 : 4;
        continue;
      }
      if (kind == WordKind::kFilemark) {
        if (InHole(offset)) {
          scan_->torn = true;
          break;
        }
        scan_->index.Append({ObjectKind::kFilemark, offset, kFilemarkSize, 0});
        offset += kFilemarkSize;
        continue;
      }
      const std::optional<std::uint64_t> end = Record(offset, *word, kind);
      if (!end) {
        scan_->torn = true;
        break;
      }
      offset = *end;
    }
    return error_;
  }

 private:
  // Nothing if it lies behind the end, or cannot be read.
  std::optional<std::uint32_t> Word(std::uint64_t offset) {
    if (offset > size_ || size_ - offset < 4) {
      return std::nullopt;
    }
    if (offset < window_offset_ || offset + 4 > window_offset_ + window_size_) {
      ssize_t read = -1;
      do {
        read = ::pread(fd_, window_.data(), window_.size(), static_cast<off_t>(offset));
      } while (read < 0 && errno == EINTR);
      if (read < 4) {
        error_ = read < 0 ? errno : EIO;
        return std::nullopt;
      }
      window_offset_ = offset;
      window_size_ = static_cast<std::uint64_t>(read);
    }
    const unsigned char* const bytes = window_.data() + (offset - window_offset_);
    return static_cast<std::uint32_t>(bytes[0]) | static_cast<std::uint32_t>(bytes[1]) << 8U |
           static_cast<std::uint32_t>(bytes[2]) << 16U |
           static_cast<std::uint32_t>(bytes[3]) << 24U;
  }

  // A filemark was written; zeros that nobody wrote are what a lost machine left of an end that was
  // not durable yet.
  bool InHole(std::uint64_t offset) const {
    const off_t data = ::lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
    return data > static_cast<off_t>(offset) || (data < 0 && errno == ENXIO);
  }

  bool IsIntact(std::uint64_t offset, std::uint32_t word) {
    return Word(offset + StoredSize(word & kLengthMask) - 4) == word;
  }

  // Takes the record at `offset` in; where the next object is, or nothing if it was torn off.
  std::optional<std::uint64_t> Record(std::uint64_t offset, std::uint32_t word, WordKind kind) {
    const std::uint32_t length = word & kLengthMask;
    std::uint64_t end = offset + StoredSize(length);
    ObjectKind object = kind == WordKind::kBlock ? ObjectKind::kBlock : ObjectKind::kDamaged;
    if (!IsIntact(offset, word)) {
      if (!RecordFollows(end)) {
        const std::optional<std::uint64_t> found = EndFromBehind(offset);
        if (!found) {
          return std::nullopt;
        }
        end = *found;
      }
      object = ObjectKind::kDamaged;
    } else if (kind == WordKind::kSkippedRecord) {
      return end;
    }
    scan_->index.Append({object, offset, end - offset, length});
    return end;
  }

  // Filemarks, and then an intact block.
  bool RecordFollows(std::uint64_t offset) {
    for (int marks = 0; marks < kMarksBehindDamageMax; ++marks) {
      const std::optional<std::uint32_t> word = Word(offset);
      if (!word) {
        return false;
      }
      if (*word != 0) {
        return KindOf(*word) == WordKind::kBlock && IsIntact(offset, *word);
      }
      offset += kFilemarkSize;
    }
    return false;
  }

  // Follows the trailing words from the end of the file; where the record that begins at `offset`
  // ends, if they lead there.
  std::optional<std::uint64_t> EndFromBehind(std::uint64_t offset) {
    std::uint64_t end = size_;
    bool intact_block = false;
    while (end >= offset + 8) {
      const std::optional<std::uint32_t> word = Word(end - 4);
      if (!word) {
        return std::nullopt;
      }
      if (*word == 0 || *word == kGap || *word == kEndWord) {
        end -= 4;
        continue;
      }
      const std::uint64_t stored = StoredSize(*word & kLengthMask);
      if (KindOf(*word) != WordKind::kBlock || stored > end - offset) {
        return std::nullopt;
      }
      if (end - stored == offset) {
        return intact_block ? std::optional(end) : std::nullopt;
      }
      if (Word(end - stored) != word) {
        return std::nullopt;
      }
      intact_block = true;
      end -= stored;
    }
    return std::nullopt;
  }

  const int fd_;
  const std::uint64_t size_;
  ImageScan* const scan_;
  int error_ = 0;
  std::array<unsigned char, 4096> window_ = {};
  std::uint64_t window_offset_ = 0;
  std::uint64_t window_size_ = 0;
};

}  // namespace

Failure ScanImage(int fd, std::uint64_t file_size, ImageScan* scan) {
  const int error = Scanner(fd, file_size, scan).Run();
  return error == 0 ? Failure() : Failure{.os_error = error, .message = "unable to read the image"};
}

}  // namespace capstan::tape
