#include "server/writers/sqlite/sqlite_wal_view.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "server/writers/positioned_io.h"

namespace capstan::writers {
namespace {

// SQLite documentation, "Database File Format", section 4.1. Numbers are big endian.
constexpr std::uint32_t kMagic = 0x377f0682;  // the lowest bit: checksums in big endian order
constexpr std::size_t kRunPagesMax = 64;

using FrameHeader = std::array<std::byte, kSqliteFrameHeaderBytes>;

WalChecksum LoadChecksum(const std::byte* bytes) {
  return {LoadBigEndian32(bytes), LoadBigEndian32(bytes + 4)};
}

Status Inconsistent(std::uint32_t frame, std::string_view what) {
  return Error(Code::kDataLoss, "frame {} of the WAL has {}: the view is not consistent", frame,
               what);
}

}  // namespace

Result<SqliteWalView> SqliteWalView::Open(const std::string& wal_path, const SqliteWalIndex& index,
                                          const WalIndexHeader& header, std::uint32_t backfilled) {
  SqliteWalView view;
  view.page_size_ = header.page_size;
  // Closing this descriptor later is harmless: SQLite keeps no locks on the WAL itself.
  view.fd_.Reset(::open(wal_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!view.fd_.valid()) {
    return OsError(errno, fmt::format("open '{}'", wal_path));
  }
  CAPSTAN_RETURN_IF_ERROR(view.CheckWalHeader(header));
  std::vector<std::uint32_t> numbers;
  CAPSTAN_RETURN_IF_ERROR(index.ReadPageNumbers(backfilled + 1, header.last_frame, &numbers));
  view.pages_.reserve(numbers.size());
  std::uint32_t frame = backfilled;
  for (const std::uint32_t number : numbers) {
    ++frame;
    if (number <= header.page_count) {  // the database may have shrunk since
      view.pages_.push_back({number, frame});
    }
  }
  // Of each page only the last frame: the greatest of its run.
  std::sort(view.pages_.begin(), view.pages_.end(), std::greater<>());
  const auto same_number = [](const Page& a, const Page& b) { return a.number == b.number; };
  view.pages_.erase(std::unique(view.pages_.begin(), view.pages_.end(), same_number),
                    view.pages_.end());
  std::reverse(view.pages_.begin(), view.pages_.end());
  view.pages_.shrink_to_fit();
  return view;
}

Status SqliteWalView::CheckWalHeader(const WalIndexHeader& header) {
  CAPSTAN_ASSIGN_OR_RETURN(wal_header_, ReadWalHeader());
  const std::uint32_t magic = LoadBigEndian32(&wal_header_[0]);
  if ((magic & ~1U) != kMagic || LoadBigEndian32(&wal_header_[8]) != header.page_size ||
      !std::equal(header.salt.begin(), header.salt.end(), wal_header_.begin() + 16)) {
    return Error(Code::kDataLoss, "its WAL does not belong to the index of the WAL");
  }
  checksum_order_ = (magic & 1) != 0 ? ChecksumOrder::kBigEndian : ChecksumOrder::kLittleEndian;
  return OkStatus();
}

Result<SqliteWalView::WalHeaderBytes> SqliteWalView::ReadWalHeader() const {
  WalHeaderBytes bytes{};
  CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(fd_.get(), 0, bytes), "its WAL"));
  return bytes;
}

Status SqliteWalView::Verify() const {
  CAPSTAN_ASSIGN_OR_RETURN(const WalHeaderBytes now, ReadWalHeader());
  if (now != wal_header_) {
    return Error(Code::kDataLoss, "its WAL was reset during the backup");
  }
  return OkStatus();
}

Status SqliteWalView::Overlay(std::uint64_t offset, std::span<std::byte> target) const {
  const std::uint64_t end = offset + target.size();
  const auto number_first = static_cast<std::uint32_t>(offset / page_size_ + 1);
  auto next =
      std::lower_bound(pages_.begin(), pages_.end(), number_first,
                       [](const Page& page, std::uint32_t number) { return page.number < number; });
  while (next != pages_.end()) {
    const std::uint64_t page_offset = std::uint64_t{next->number - 1} * page_size_;
    if (page_offset >= end) {
      break;
    }
    if (page_offset < offset || page_offset + page_size_ > end) {
      CAPSTAN_RETURN_IF_ERROR(ReadPart(*next, offset, target));
      ++next;
      continue;
    }
    auto run_end = next + 1;
    std::uint64_t run_bytes = page_size_;
    while (run_end != pages_.end() && run_end->number == (run_end - 1)->number + 1 &&
           run_end->frame == (run_end - 1)->frame + 1 &&
           run_end - next < std::ptrdiff_t{kRunPagesMax} &&
           page_offset + run_bytes + page_size_ <= end) {
      run_bytes += page_size_;
      ++run_end;
    }
    CAPSTAN_RETURN_IF_ERROR(ReadRun({next, run_end}, target.data() + (page_offset - offset)));
    next = run_end;
  }
  return OkStatus();
}

Status SqliteWalView::ReadRun(std::span<const Page> run, std::byte* target) const {
  CAPSTAN_ASSIGN_OR_RETURN(WalChecksum checksum, ReadChecksumBefore(run.front().frame));
  std::array<FrameHeader, kRunPagesMax> headers;
  std::array<iovec, 2 * kRunPagesMax> parts;
  for (std::size_t i = 0; i < run.size(); ++i) {
    parts[2 * i] = {headers[i].data(), kSqliteFrameHeaderBytes};
    parts[2 * i + 1] = {target + i * page_size_, page_size_};
  }
  CAPSTAN_RETURN_IF_ERROR(Annotate(ReadVectorFully(fd_.get(), FrameOffset(run.front().frame),
                                                   std::span(parts).first(2 * run.size())),
                                   "its WAL"));
  for (std::size_t i = 0; i < run.size(); ++i) {
    const FrameHeader& header = headers[i];
    const Page& page = run[i];
    if (LoadBigEndian32(&header[0]) != page.number) {
      return Inconsistent(page.frame, "an unexpected page number");
    }
    if (!std::equal(&header[8], &header[16], &wal_header_[16])) {
      return Inconsistent(page.frame, "the salt of another generation");
    }
    checksum = ExtendWalChecksum(checksum, std::span(header).first(8), checksum_order_);
    checksum = ExtendWalChecksum(checksum, {target + i * page_size_, page_size_}, checksum_order_);
    if (checksum != LoadChecksum(&header[16])) {
      return Inconsistent(page.frame, "a wrong checksum");
    }
  }
  return OkStatus();
}

Status SqliteWalView::ReadPart(const Page& page, std::uint64_t offset,
                               std::span<std::byte> target) const {
  std::vector<std::byte> whole(page_size_);
  CAPSTAN_RETURN_IF_ERROR(ReadRun({&page, 1}, whole.data()));
  const std::uint64_t page_offset = std::uint64_t{page.number - 1} * page_size_;
  const std::uint64_t first = std::max(page_offset, offset);
  const std::uint64_t last = std::min(page_offset + page_size_, offset + target.size());
  std::memcpy(target.data() + (first - offset), whole.data() + (first - page_offset), last - first);
  return OkStatus();
}

Result<WalChecksum> SqliteWalView::ReadChecksumBefore(std::uint32_t frame) const {
  // Checksums run through the whole WAL; the one to start from ends the header in front.
  const std::uint64_t header_end =
      frame == 1 ? kSqliteWalHeaderBytes : FrameOffset(frame - 1) + kSqliteFrameHeaderBytes;
  std::array<std::byte, 8> bytes;
  CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(fd_.get(), header_end - 8, bytes), "its WAL"));
  return LoadChecksum(bytes.data());
}

std::uint64_t SqliteWalView::FrameOffset(std::uint32_t frame) const {
  return kSqliteWalHeaderBytes + std::uint64_t{frame - 1} * (kSqliteFrameHeaderBytes + page_size_);
}

}  // namespace capstan::writers
