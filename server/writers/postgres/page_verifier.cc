#include "server/writers/postgres/page_verifier.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "server/writers/positioned_io.h"
#include "server/writers/postgres/page_checksum.h"
#include "server/writers/postgres/wal_format.h"

namespace capstan::writers {
namespace {

// A page is written in microseconds; the pauses are for a machine that is busy.
constexpr int kReadAgainTries = 5;
constexpr std::chrono::milliseconds kReadAgainPause{1};

// Calls `on_page(offset in the file, page)` for the pages whose last byte is among these: of those
// that begin before, all is read again.
template <typename Byte, typename OnPage>
Status ForEachPage(const PageVerifier::Source& source, std::uint64_t page_bytes,
                   std::uint64_t offset, std::span<Byte> bytes, const OnPage& on_page) {
  std::vector<std::byte> own;
  for (std::uint64_t at = offset / page_bytes * page_bytes;
       at + page_bytes <= offset + bytes.size(); at += page_bytes) {
    if (at >= offset) {
      CAPSTAN_RETURN_IF_ERROR(on_page(at, bytes.subspan(static_cast<std::size_t>(at - offset),
                                                        static_cast<std::size_t>(page_bytes))));
      continue;
    }
    own.resize(static_cast<std::size_t>(page_bytes));
    CAPSTAN_RETURN_IF_ERROR(Annotate(ReadOrZero(source.fd, at, own), source.physical_name));
    CAPSTAN_RETURN_IF_ERROR(on_page(at, std::span<Byte>(own)));
  }
  return OkStatus();
}

bool HasSaneHeader(const DataPageHeader& header, std::size_t page_bytes) {
  return header.lower >= kDataPageHeaderBytes && header.lower <= header.upper &&
         header.upper <= header.special && header.special <= page_bytes && header.special % 8 == 0;
}

}  // namespace

std::optional<std::string> FindPageFault(std::span<const std::byte> page, std::uint32_t block,
                                         bool checksums) {
  const DataPageHeader header = ReadDataPageHeader(page);
  if (header.is_new()) {
    return IsAllZero(page) ? std::nullopt
                           : std::optional<std::string>(
                                 "its header says that nothing is on it, "
                                 "but it is not empty");
  }
  if (checksums) {
    const std::uint16_t computed = ComputePageChecksum(page, block);
    if (computed != header.checksum) {
      return fmt::format("its checksum is {:#06x}, its bytes make {:#06x}", header.checksum,
                         computed);
    }
  }
  if (!HasSaneHeader(header, page.size())) {
    return "its header cannot be that of a page";
  }
  return std::nullopt;
}

Status PageVerifier::Check(const Source& source, std::uint64_t offset, std::span<std::byte> bytes) {
  return ForEachPage(
      source, options_.page_bytes, offset, bytes,
      [&](std::uint64_t at, std::span<std::byte> page) { return CheckPage(source, at, page); });
}

Result<bool> PageVerifier::AreRight(const Source& source, std::uint64_t offset,
                                    std::span<const std::byte> bytes) const {
  bool right = true;
  CAPSTAN_RETURN_IF_ERROR(ForEachPage(source, options_.page_bytes, offset, bytes,
                                      [&](std::uint64_t at, std::span<const std::byte> page) {
                                        right = right && !FindPageFault(page, BlockAt(source, at),
                                                                        options_.checksums);
                                        return OkStatus();
                                      }));
  return right;
}

std::uint32_t PageVerifier::BlockAt(const Source& source, std::uint64_t offset) const {
  return source.first_block + static_cast<std::uint32_t>(offset / options_.page_bytes);
}

Status PageVerifier::CheckPage(const Source& source, std::uint64_t offset,
                               std::span<std::byte> page) {
  const std::uint32_t block = BlockAt(source, offset);
  std::optional<std::string> fault = FindPageFault(page, block, options_.checksums);
  if (!fault) {
    return OkStatus();
  }
  std::vector<std::byte> again(page.size());
  for (int i = 0; i < kReadAgainTries; ++i) {
    // What has been cut off meanwhile reads as zeros: nobody misses it.
    CAPSTAN_RETURN_IF_ERROR(Annotate(ReadOrZero(source.fd, offset, again), source.physical_name));
    fault = FindPageFault(again, block, options_.checksums);
    if (!fault) {
      std::ranges::copy(again, page.begin());
      return OkStatus();
    }
    std::this_thread::sleep_for(kReadAgainPause);
  }
  return Judge(source, block, *std::move(fault), ReadDataPageHeader(again).lsn);
}

Status PageVerifier::Judge(const Source& source, std::uint32_t block, std::string fault, Lsn lsn) {
  PageError error{.file_id = source.file_id,
                  .page = block,
                  .file = source.physical_name,
                  .cause = std::move(fault)};
  if (lsn <= options_.start) {
    return options_.on_page_error(error);
  }
  MutexLock lock(mutex_);
  doubts_.push_back({.error = std::move(error), .lsn = lsn});
  return OkStatus();
}

Status PageVerifier::Settle(Lsn stop) {
  std::vector<Doubt> doubts;
  {
    MutexLock lock(mutex_);
    doubts.swap(doubts_);
  }
  for (Doubt& doubt : doubts) {
    if (doubt.lsn > stop) {
      doubt.error.cause += fmt::format(", and its LSN {} lies behind the end of the log",
                                       PostgresLsnText(doubt.lsn));
      CAPSTAN_RETURN_IF_ERROR(options_.on_page_error(doubt.error));
    }
  }
  return OkStatus();
}

}  // namespace capstan::writers
