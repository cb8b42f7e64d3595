#include "server/writers/sqlite/log/log_spool.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/durable_file.h"
#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/page_hash.h"
#include "vdi/base/crash_point.h"

namespace capstan::writers {
namespace {

constexpr std::string_view kPrefix = "segment-";

std::string SegmentPath(const std::string& folder, std::uint64_t number) {
  return fmt::format("{}/{}{:016x}", folder, kPrefix, number);
}

Result<std::vector<std::uint64_t>> ListSegments(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), &::closedir);
  if (directory == nullptr) {
    return OsError(errno, fmt::format("unable to list '{}'", folder));
  }
  std::vector<std::uint64_t> numbers;
  while (const dirent* const entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name.starts_with(kPrefix) && name.size() == kPrefix.size() + 16) {
      numbers.push_back(std::strtoull(entry->d_name + kPrefix.size(), nullptr, 16));
    }
  }
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace

Result<LogSpool> LogSpool::Open(const std::string& folder) {
  CAPSTAN_RETURN_IF_ERROR(MakeFolders(folder));
  LogSpool spool(folder);
  CAPSTAN_RETURN_IF_ERROR(spool.Load());
  return spool;
}

Status LogSpool::Load() {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> numbers, ListSegments(folder_));
  for (const std::uint64_t number : numbers) {
    Segment segment{.number = number, .path = SegmentPath(folder_, number)};
    segment.file =
        std::make_shared<UniqueFd>(::open(segment.path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!segment.file->valid()) {
      return OsError(errno, fmt::format("unable to open '{}'", segment.path));
    }
    const bool is_last = number == numbers.back();
    const Lsn before = segments_.empty() ? Lsn{} : segments_.back().last;
    CAPSTAN_ASSIGN_OR_RETURN(const bool whole, Scan(&segment, is_last));
    if (segment.bytes == 0) {  // cut off before its first block
      CAPSTAN_RETURN_IF_ERROR(RemoveFile(segment.path));
      continue;
    }
    const bool follows = segments_.empty() || segment.first == before;
    if (!follows) {
      damage_ = fmt::format("log between {} and {} is missing on disk", LsnText(before),
                            LsnText(segment.first));
      segments_.clear();
    }
    segments_.push_back(std::move(segment));
    if (!whole && !is_last) {
      damage_ = fmt::format("a segment of the log was damaged on disk, behind {}",
                            LsnText(segments_.back().last));
    }
  }
  return OkStatus();
}

Result<bool> LogSpool::Scan(Segment* segment, bool thorough) {
  struct stat info {};
  if (::fstat(segment->file->get(), &info) != 0) {
    return OsError(errno, segment->path);
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  std::vector<std::byte> payload;
  bool whole = true;
  while (segment->bytes < size) {
    LogBlockBytes bytes;
    whole = false;
    if (size - segment->bytes < bytes.size() ||
        !ReadFully(segment->file->get(), segment->bytes, bytes).ok()) {
      break;
    }
    const auto block = DecodeLogBlock(bytes);
    if (!block.ok() || size - segment->bytes - bytes.size() < block->payload_bytes) {
      break;
    }
    if (thorough) {
      payload.resize(block->payload_bytes);
      if (!ReadFully(segment->file->get(), segment->bytes + bytes.size(), payload).ok() ||
          !CheckPayload(*block, payload).ok()) {
        break;
      }
    }
    if (segment->bytes == 0) {
      segment->first = block->end.lsn();
    }
    segment->bytes += bytes.size() + block->payload_bytes;
    segment->last = block->end.lsn();
    Note(*block);
    whole = true;
  }
  if (!whole && thorough &&
      ::ftruncate(segment->file->get(), static_cast<off_t>(segment->bytes)) != 0) {
    return OsError(errno, segment->path);
  }
  return whole;
}

void LogSpool::Note(const LogBlock& block) {
  last_ = block;
  last_time_unix_us_ = std::max(last_time_unix_us_, block.time_unix_us);
  if (block.commit_frame != 0) {
    last_commit_ = {std::uint64_t{block.end.generation} << 32 | block.commit_frame};
  } else if (last_commit_.value == 0) {
    last_commit_ = block.end.lsn();
  }
}

Status LogSpool::AddSegment(const WalPosition& position) {
  Segment segment{.number = segments_.empty() ? 1 : segments_.back().number + 1};
  segment.path = SegmentPath(folder_, segment.number);
  segment.file = std::make_shared<UniqueFd>(
      ::open(segment.path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
             S_IRUSR | S_IWUSR));
  if (!segment.file->valid()) {
    return OsError(errno, fmt::format("unable to create '{}'", segment.path));
  }
  LogBlock block{.kind = LogBlockKind::kBegin, .end = position};
  block.time_unix_us = last_time_unix_us_;
  CAPSTAN_RETURN_IF_ERROR(
      Annotate(WriteFully(segment.file->get(), 0, EncodeLogBlock(block)), segment.path));
  CAPSTAN_RETURN_IF_ERROR(SyncFolder(folder_));
  segment.bytes = kLogBlockHeaderBytes;
  segment.first = segment.last = position.lsn();
  segments_.push_back(std::move(segment));
  synced_ = false;
  return OkStatus();
}

Status LogSpool::Begin(const WalPosition& position) {
  CAPSTAN_RETURN_IF_ERROR(Remove());
  CAPSTAN_RETURN_IF_ERROR(AddSegment(position));
  Note({.kind = LogBlockKind::kBegin, .end = position, .time_unix_us = last_time_unix_us_});
  return Sync();
}

Status LogSpool::Append(LogBlock block, std::span<const std::byte> payload) {
  block.payload_bytes = payload.size();
  block.payload_hash = HashBytes(payload);
  if (segments_.back().bytes >= kSegmentBytes) {
    CAPSTAN_RETURN_IF_ERROR(Sync());
    CAPSTAN_RETURN_IF_ERROR(AddSegment(last_.end));
  }
  Segment& segment = segments_.back();
  const LogBlockBytes header = EncodeLogBlock(block);
  Status status = WriteFully(segment.file->get(), segment.bytes, header);
  CAPSTAN_CRASH_POINT("sqlite.log.torn_block");
  if (status.ok()) {
    status = WriteFully(segment.file->get(), segment.bytes + header.size(), payload);
  }
  CAPSTAN_RETURN_IF_ERROR(Annotate(std::move(status), segment.path));
  segment.bytes += header.size() + payload.size();
  segment.last = block.end.lsn();
  synced_ = false;
  Note(block);
  return OkStatus();
}

Status LogSpool::Sync() {
  if (!synced_ && !segments_.empty()) {
    if (::fdatasync(segments_.back().file->get()) != 0) {
      return OsError(errno, fmt::format("unable to sync '{}'", segments_.back().path));
    }
    synced_ = true;
  }
  return OkStatus();
}

Status LogSpool::Trim(Lsn lsn) {
  if (!segments_.empty() && segments_.back().last <= lsn && segments_.back().first < lsn) {
    CAPSTAN_RETURN_IF_ERROR(Sync());
    CAPSTAN_RETURN_IF_ERROR(AddSegment(last_.end));
    CAPSTAN_RETURN_IF_ERROR(Sync());
  }
  CAPSTAN_CRASH_POINT("sqlite.log.before_trim");
  while (segments_.size() > 1 && segments_.front().last <= lsn) {
    CAPSTAN_RETURN_IF_ERROR(RemoveFile(segments_.front().path));
    segments_.pop_front();
    CAPSTAN_CRASH_POINT("sqlite.log.trimmed");
  }
  return OkStatus();
}

Status LogSpool::Remove() {
  while (!segments_.empty()) {
    CAPSTAN_RETURN_IF_ERROR(RemoveFile(segments_.front().path));
    segments_.pop_front();
  }
  last_ = {};
  last_commit_ = {};
  damage_.clear();
  return OkStatus();
}

Result<std::vector<LogPiece>> LogSpool::Pieces(Lsn lsn) const {
  std::vector<LogPiece> pieces;
  for (const Segment& segment : segments_) {
    if (segment.last <= lsn) {
      continue;
    }
    std::uint64_t offset = 0;
    while (offset < segment.bytes && segment.first < lsn) {
      LogBlockBytes bytes;
      CAPSTAN_RETURN_IF_ERROR(
          Annotate(ReadFully(segment.file->get(), offset, bytes), segment.path));
      CAPSTAN_ASSIGN_OR_RETURN(const LogBlock block, DecodeLogBlock(bytes));
      if (block.end.lsn() > lsn) {
        break;
      }
      offset += bytes.size() + block.payload_bytes;
    }
    if (offset < segment.bytes) {
      pieces.push_back({segment.file, offset, segment.bytes - offset});
    }
  }
  return pieces;
}

std::uint64_t LogSpool::bytes() const {
  std::uint64_t sum = 0;
  for (const Segment& segment : segments_) {
    sum += segment.bytes;
  }
  return sum;
}

}  // namespace capstan::writers
