#include "server/writers/sqlite/sqlite_wal_index.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <sqlite3.h>

namespace capstan::writers {
namespace {

// SQLite documentation, "WAL-mode File Format", section 2. Numbers are in the machine's own order.
constexpr int kRegionBytes = 32768;
constexpr std::uint32_t kVersion = 3007000;
constexpr std::size_t kHeaderWords = 12;
constexpr std::size_t kBackfillWord = 24;
constexpr std::size_t kFirstRegionPagesWord = 34;  // page numbers follow the header of 136 bytes
constexpr std::uint32_t kRegionFrames = 4096;

const volatile std::uint32_t* MapRegion(sqlite3_file* file, std::uint32_t region) {
  volatile void* address = nullptr;
  // SQLITE_READONLY comes with a usable mapping, when the rights allow no more than reading.
  const int code =
      file->pMethods->xShmMap(file, static_cast<int>(region), kRegionBytes, 0, &address);
  return code == SQLITE_OK || code == SQLITE_READONLY
             ? static_cast<const volatile std::uint32_t*>(address)
             : nullptr;
}

using HeaderWords = std::array<std::uint32_t, kHeaderWords>;

HeaderWords CopyHeader(const volatile std::uint32_t* words) {
  HeaderWords copy;
  std::copy_n(words, kHeaderWords, copy.begin());
  return copy;
}

constexpr ChecksumOrder kNativeOrder = std::endian::native == std::endian::little
                                           ? ChecksumOrder::kLittleEndian
                                           : ChecksumOrder::kBigEndian;

}  // namespace

Result<SqliteWalIndex> SqliteWalIndex::Map(const SqliteConnection& connection) {
  sqlite3_file* const file = connection.main_file();
  const volatile std::uint32_t* words = nullptr;
  if (file != nullptr && file->pMethods != nullptr && file->pMethods->iVersion >= 2) {
    words = MapRegion(file, 0);
  }
  if (words == nullptr) {
    return Error(Code::kPermissionDenied, "unable to map the shared memory of its WAL")
        .WithHint("a database in WAL mode needs write access to the file and its directory");
  }
  return SqliteWalIndex(file, words);
}

Result<WalIndexHeader> SqliteWalIndex::ReadHeader() const {
  // The writer fills the second copy before the first one, with a barrier between; two equal copies
  // with a good checksum are a header that was valid as a whole.
  const HeaderWords first = CopyHeader(words_);
  file_->pMethods->xShmBarrier(file_);  // SQLite's own, as its readers use it
  const HeaderWords second = CopyHeader(words_ + kHeaderWords);
  WalIndexHeader header;
  std::memcpy(header.bytes.data(), first.data(), header.bytes.size());
  const WalChecksum checksum =
      ExtendWalChecksum({}, std::span(header.bytes).first(40), kNativeOrder);
  const bool initialized = header.bytes[12] != std::byte{0};
  if (first != second || !initialized || checksum != WalChecksum{first[10], first[11]}) {
    return Error(Code::kUnavailable, "the index of its WAL is being written");
  }
  if (first[0] != kVersion) {
    return Error(Code::kUnimplemented, "the index of its WAL has the unknown version {}", first[0]);
  }
  std::uint16_t page_size = 0;
  std::memcpy(&page_size, &header.bytes[14], sizeof page_size);
  header.page_size = page_size == 1 ? 65536 : page_size;
  header.last_frame = first[4];
  header.page_count = first[5];
  header.frame_checksum = {first[6], first[7]};
  std::copy_n(header.bytes.begin() + 32, header.salt.size(), header.salt.begin());
  return header;
}

std::uint32_t SqliteWalIndex::backfilled() const {
  // Neither what is read before it nor what is read after it may change places with this.
  file_->pMethods->xShmBarrier(file_);
  const std::uint32_t value = words_[kBackfillWord];
  file_->pMethods->xShmBarrier(file_);
  return value;
}

std::uint32_t SqliteWalIndex::read_mark(int number) const {
  file_->pMethods->xShmBarrier(file_);
  const std::uint32_t value = words_[kBackfillWord + 1 + static_cast<std::size_t>(number)];
  file_->pMethods->xShmBarrier(file_);
  return value;
}

Status SqliteWalIndex::ReadPageNumbers(std::uint32_t first, std::uint32_t last,
                                       std::vector<std::uint32_t>* pages) const {
  for (std::uint64_t frame = first; frame <= last;) {
    const std::uint64_t slot = frame - 1 + kFirstRegionPagesWord;  // counted over all regions
    const auto region = static_cast<std::uint32_t>(slot / kRegionFrames);
    const volatile std::uint32_t* const words = MapRegion(file_, region);
    if (words == nullptr) {
      return Error(Code::kUnavailable, "unable to map region {} of the index of its WAL", region);
    }
    const std::uint64_t offset = slot % kRegionFrames;
    const std::uint64_t count = std::min<std::uint64_t>(kRegionFrames - offset, last - frame + 1);
    pages->insert(pages->end(), words + offset, words + offset + count);
    frame += count;
  }
  return OkStatus();
}

}  // namespace capstan::writers
