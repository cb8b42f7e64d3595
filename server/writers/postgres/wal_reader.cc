#include "server/writers/postgres/wal_reader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace capstan::writers {
namespace {

constexpr std::size_t kBufferSize = 32 * kWalPageSize;
// What of a record's data can be of interest: its headers, a time and a name.
constexpr std::size_t kDataKept = 256;

// Of PostgreSQL 13, 14, 15 and 16.
constexpr std::array<std::uint16_t, 4> kPageMagics = {0xD106, 0xD10D, 0xD110, 0xD113};

constexpr std::uint8_t kXlogManager = 0;
constexpr std::uint8_t kXactManager = 1;
constexpr std::uint8_t kXlogSwitch = 0x40;
constexpr std::uint8_t kXlogBackupEnd = 0x50;
constexpr std::uint8_t kXlogRestorePoint = 0x70;
constexpr std::uint8_t kXactOperationMask = 0x70;
constexpr std::uint8_t kXactCommit = 0x00;
constexpr std::uint8_t kXactAbort = 0x20;
constexpr std::uint8_t kXactCommitPrepared = 0x30;
constexpr std::uint8_t kXactAbortPrepared = 0x40;

constexpr std::uint8_t kDataShort = 255;
constexpr std::uint8_t kDataLong = 254;
constexpr std::uint8_t kOrigin = 253;
constexpr std::uint8_t kTopLevelTransaction = 252;
constexpr std::size_t kRestorePointNameSize = 64;

std::uint64_t AlignUp(std::uint64_t value) {
  return (value + kWalAlignment - 1) / kWalAlignment * kWalAlignment;
}

// What the record's own manager wrote, behind the headers. Empty if there are blocks of relations,
// which no record that is of interest here has.
std::span<const std::byte> MainData(std::span<const std::byte> data) {
  while (data.size() >= 2) {
    switch (std::to_integer<std::uint8_t>(data[0])) {
      case kDataShort:
        return data.subspan(2);
      case kDataLong:
        return data.size() < 5 ? std::span<const std::byte>() : data.subspan(5);
      case kOrigin:
        data = data.subspan(std::min<std::size_t>(3, data.size()));
        break;
      case kTopLevelTransaction:
        data = data.subspan(std::min<std::size_t>(5, data.size()));
        break;
      default:
        return {};
    }
  }
  return {};
}

WalRecord::Kind XlogKind(std::uint8_t info) {
  switch (info & 0xF0) {
    case kXlogSwitch:
      return WalRecord::Kind::kSwitch;
    case kXlogBackupEnd:
      return WalRecord::Kind::kBackupEnd;
    case kXlogRestorePoint:
      return WalRecord::Kind::kRestorePoint;
    default:
      return WalRecord::Kind::kOther;
  }
}

WalRecord::Kind XactKind(std::uint8_t info) {
  switch (info & kXactOperationMask) {
    case kXactCommit:
    case kXactCommitPrepared:
      return WalRecord::Kind::kCommit;
    case kXactAbort:
    case kXactAbortPrepared:
      return WalRecord::Kind::kAbort;
    default:
      return WalRecord::Kind::kOther;
  }
}

// Finds out what the record is, from the first bytes behind its header.
void Interpret(std::span<const std::byte> data, WalRecord* record) {
  if (record->resource_manager == kXlogManager) {
    record->kind = XlogKind(record->info);
  } else if (record->resource_manager == kXactManager) {
    record->kind = XactKind(record->info);
  }
  const bool timed = record->kind == WalRecord::Kind::kCommit ||
                     record->kind == WalRecord::Kind::kAbort ||
                     record->kind == WalRecord::Kind::kRestorePoint;
  if (!timed) {
    return;
  }
  const std::span<const std::byte> main = MainData(data);
  std::int64_t time = 0;
  if (main.size() < sizeof(time)) {
    record->kind = WalRecord::Kind::kOther;
    return;
  }
  std::memcpy(&time, main.data(), sizeof(time));
  if (__builtin_add_overflow(time, kPostgresEpochUnixUs, &record->unix_us)) {
    record->kind = WalRecord::Kind::kOther;
    return;
  }
  if (record->kind == WalRecord::Kind::kRestorePoint) {
    const auto name = main.subspan(sizeof(time));
    const auto* text = reinterpret_cast<const char*>(name.data());
    record->name.assign(text, ::strnlen(text, std::min(name.size(), kRestorePointNameSize)));
  }
}

}  // namespace

WalReader::WalReader(Options options)
    : options_(std::move(options)), next_(options_.start), end_(options_.start) {
  buffer_.resize(kBufferSize);
}

Result<WalReader> WalReader::Open(Options options) {
  if (!IsWalSegmentSize(options.segment_size) || options.start.value % kWalAlignment != 0) {
    return Error(Code::kInvalidArgument, "no log of {} byte segments begins at {}",
                 options.segment_size, PostgresLsnText(options.start));
  }
  return WalReader(std::move(options));
}

Result<std::optional<WalRecord>> WalReader::Next() {
  Step step = end_cause_.empty() ? Step::kRestart : Step::kEnd;
  WalRecord record;
  while (step == Step::kRestart) {
    CAPSTAN_ASSIGN_OR_RETURN(step, ReadRecord(&record));
  }
  if (step == Step::kEnd) {
    return std::optional<WalRecord>();
  }
  previous_ = record.start;
  next_ = record.end;
  end_ = std::min(record.end, options_.limit);
  return std::optional<WalRecord>(std::move(record));
}

WalReader::Step WalReader::EndsHere(std::string cause) {
  end_cause_ = std::move(cause);
  return Step::kEnd;
}

WalReader::Step WalReader::EndsAtLimit() {
  limited_ = true;
  return EndsHere(fmt::format("log from {} on was not asked for", PostgresLsnText(options_.limit)));
}

Result<WalReader::Step> WalReader::ReadRecord(WalRecord* record) {
  CAPSTAN_ASSIGN_OR_RETURN(Step step, FindRecordStart());
  if (step != Step::kDone) {
    return step;
  }
  std::array<std::byte, kWalRecordHeaderSize> header_bytes{};
  Cursor cursor{.position = next_};
  CAPSTAN_ASSIGN_OR_RETURN(step, ReadHeader(&cursor, header_bytes));
  if (step != Step::kDone) {
    return step;
  }
  const WalRecordHeader header = ParseWalRecordHeader(header_bytes);
  if (previous_ ? header.previous != *previous_ : header.previous >= next_) {
    return EndsHere(
        fmt::format("the record at {} does not follow the one before", PostgresLsnText(next_)));
  }
  std::array<std::byte, kDataKept> kept{};
  std::size_t kept_size = 0;
  std::uint32_t crc = 0;
  while (cursor.remaining > 0) {
    std::span<const std::byte> piece;
    CAPSTAN_ASSIGN_OR_RETURN(step, ReadPiece(&cursor, cursor.remaining, &piece));
    if (step != Step::kDone) {
      return step;
    }
    crc = WalCrc32c(crc, piece);
    const std::size_t take = std::min(piece.size(), kept.size() - kept_size);
    std::ranges::copy(piece.first(take), kept.begin() + static_cast<std::ptrdiff_t>(kept_size));
    kept_size += take;
  }
  crc = WalCrc32c(crc, std::span(header_bytes).first(kWalRecordHeaderSize - sizeof(crc)));
  if (crc != header.crc32c) {
    return EndsHere(
        fmt::format("the checksum of the record at {} is wrong", PostgresLsnText(next_)));
  }
  *record = {.start = next_,
             .end = {AlignUp(cursor.position.value)},
             .transaction = header.transaction,
             .resource_manager = header.resource_manager,
             .info = header.info};
  Interpret(std::span(kept).first(kept_size), record);
  if (record->kind == WalRecord::Kind::kSwitch) {
    // The rest of the segment is of no use.
    record->end = WalSegmentBegin({record->end.value - 1}, options_.segment_size);
    record->end.value += options_.segment_size;
  }
  return Step::kDone;
}

Result<WalReader::Step> WalReader::FindRecordStart() {
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const Step step, LoadPage(next_));
    if (step != Step::kDone) {
      return step;
    }
    if (next_.value - page_address_->value >= page_.size()) {
      return Step::kDone;
    }
    const bool continues = (page_.flags & kWalPageContinues) != 0;
    if (continues && previous_) {
      return EndsHere(fmt::format("the page at {} continues a record that is not before it",
                                  PostgresLsnText(*page_address_)));
    }
    const std::uint64_t skipped = continues ? AlignUp(page_.remaining) : 0;
    const std::uint64_t space = kWalPageSize - page_.size();
    next_.value = page_address_->value + page_.size() + std::min(skipped, space);
    if (skipped < space) {
      return Step::kDone;
    }
  }
}

Result<WalReader::Step> WalReader::ReadHeader(Cursor* cursor,
                                              std::span<std::byte, kWalRecordHeaderSize> target) {
  // Records begin at multiples of 8, so the length is on this page.
  std::uint32_t length = 0;
  std::memcpy(&length, page_bytes_.data() + (next_.value - page_address_->value), sizeof(length));
  if (length < kWalRecordHeaderSize) {
    return EndsHere(fmt::format("there is no record at {}", PostgresLsnText(next_)));
  }
  cursor->remaining = length;
  std::size_t done = 0;
  while (done < target.size()) {
    std::span<const std::byte> piece;
    CAPSTAN_ASSIGN_OR_RETURN(const Step step, ReadPiece(cursor, target.size() - done, &piece));
    if (step != Step::kDone) {
      return step;
    }
    std::ranges::copy(piece, target.begin() + static_cast<std::ptrdiff_t>(done));
    done += piece.size();
  }
  return Step::kDone;
}

Result<WalReader::Step> WalReader::ReadPiece(Cursor* cursor, std::uint64_t length_max,
                                             std::span<const std::byte>* piece) {
  CAPSTAN_ASSIGN_OR_RETURN(const Step step, LoadPage(cursor->position));
  if (step != Step::kDone) {
    return step;
  }
  if (cursor->position == *page_address_) {
    if ((page_.flags & kWalPageOverwrites) != 0) {
      next_ = *page_address_;
      return Step::kRestart;
    }
    if ((page_.flags & kWalPageContinues) == 0 || page_.remaining != cursor->remaining) {
      return EndsHere(fmt::format("the record at {} does not go on at {}", PostgresLsnText(next_),
                                  PostgresLsnText(*page_address_)));
    }
    cursor->position.value += page_.size();
  }
  const std::uint64_t offset = cursor->position.value - page_address_->value;
  const std::uint64_t length = std::min({length_max, cursor->remaining, kWalPageSize - offset});
  if (cursor->position.value + length > options_.limit.value) {
    return EndsAtLimit();
  }
  *piece = page_bytes_.subspan(offset, length);
  cursor->position.value += length;
  cursor->remaining -= length;
  return Step::kDone;
}

Result<WalReader::Step> WalReader::LoadPage(Lsn position) {
  const Lsn address{position.value - position.value % kWalPageSize};
  if (page_address_ == address) {
    return Step::kDone;
  }
  if (position >= options_.limit) {
    return EndsAtLimit();
  }
  page_address_.reset();
  const Lsn segment = WalSegmentBegin(address, options_.segment_size);
  if (segment_begin_ != segment) {
    CAPSTAN_ASSIGN_OR_RETURN(const Step step, OpenSegment(segment));
    if (step != Step::kDone) {
      return step;
    }
  }
  if (address < buffer_begin_ ||
      address.value - buffer_begin_.value + kWalPageSize > buffer_size_) {
    CAPSTAN_ASSIGN_OR_RETURN(const Step step, FillBuffer(address));
    if (step != Step::kDone) {
      return step;
    }
  }
  page_bytes_ = std::span(buffer_).subspan(address.value - buffer_begin_.value, kWalPageSize);
  return CheckPage(address);
}

WalReader::Step WalReader::CheckPage(Lsn address) {
  page_ = *ParseWalPageHeader(page_bytes_);
  const bool first = address == *segment_begin_;
  const bool known = std::ranges::find(kPageMagics, page_.magic) != kPageMagics.end() &&
                     (magic_ == 0 || page_.magic == magic_) &&
                     (page_.flags & ~kWalPageKnownFlags) == 0 && page_.address == address;
  if (!known || first != ((page_.flags & kWalPageLongHeader) != 0)) {
    return EndsHere(fmt::format("there is no page of log at {}", PostgresLsnText(address)));
  }
  if (page_.timeline != options_.history.TimelineAt(address)) {
    return EndsHere(
        fmt::format("the page at {} is of timeline {}", PostgresLsnText(address), page_.timeline));
  }
  if (first && (page_.segment_size != options_.segment_size || page_.page_size != kWalPageSize ||
                (options_.system_identifier != 0 &&
                 page_.system_identifier != options_.system_identifier))) {
    return EndsHere(
        fmt::format("the segment at {} is of another cluster", PostgresLsnText(address)));
  }
  magic_ = page_.magic;
  page_address_ = address;
  return Step::kDone;
}

Result<WalReader::Step> WalReader::OpenSegment(Lsn begin) {
  segment_begin_.reset();
  buffer_size_ = 0;
  // The newest timeline that was there by the end of the segment has the bytes of those before it
  // as well; its file may not have been finished, or be gone already.
  const auto& entries = options_.history.entries();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (WalSegmentBegin(entry->begin, options_.segment_size) > begin) {
      continue;
    }
    const std::string name = WalSegmentName(entry->timeline, begin, options_.segment_size);
    for (const std::string& directory : options_.directories) {
      const std::string path = directory + "/" + name;
      segment_.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      if (segment_.valid()) {
        segment_begin_ = begin;
        return Step::kDone;
      }
      if (errno != ENOENT) {
        return OsError(errno, fmt::format("unable to open the log segment '{}'", path));
      }
    }
  }
  return EndsHere(fmt::format("there is no segment of log at {}", PostgresLsnText(begin)));
}

Result<WalReader::Step> WalReader::FillBuffer(Lsn address) {
  const std::uint64_t offset = address.value - segment_begin_->value;
  const std::size_t size = std::min<std::uint64_t>(buffer_.size(), options_.segment_size - offset);
  buffer_begin_ = address;
  buffer_size_ = 0;
  while (buffer_size_ < size) {
    const ssize_t count = ::pread(segment_.get(), buffer_.data() + buffer_size_,
                                  size - buffer_size_, static_cast<off_t>(offset + buffer_size_));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return OsError(errno,
                     fmt::format("unable to read the log segment at {}", PostgresLsnText(address)));
    }
    if (count == 0) {
      break;
    }
    buffer_size_ += static_cast<std::size_t>(count);
  }
  if (buffer_size_ < kWalPageSize) {
    return EndsHere(
        fmt::format("the segment ends at {}", PostgresLsnText({address.value + buffer_size_})));
  }
  return Step::kDone;
}

}  // namespace capstan::writers
