#include "server/writers/sqlite/log/log_replay.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <span>
#include <vector>

#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/log_block.h"

namespace capstan::writers {
namespace {

using BlockVisitor = std::function<Result<bool>(const LogBlock&, std::span<const std::byte>)>;

// Every block, verified, until the visitor returns false.
Status VisitBlocks(int fd, std::uint64_t size, const BlockVisitor& visit) {
  std::vector<std::byte> payload;
  for (std::uint64_t at = 0; at < size;) {
    LogBlockBytes bytes;
    CAPSTAN_RETURN_IF_ERROR(ReadFully(fd, at, bytes));
    CAPSTAN_ASSIGN_OR_RETURN(const LogBlock block, DecodeLogBlock(bytes));
    payload.resize(block.payload_bytes);
    CAPSTAN_RETURN_IF_ERROR(ReadFully(fd, at + bytes.size(), payload));
    CAPSTAN_RETURN_IF_ERROR(CheckPayload(block, payload));
    at += bytes.size() + payload.size();
    CAPSTAN_ASSIGN_OR_RETURN(const bool more, visit(block, payload));
    if (!more) {
      break;
    }
  }
  return OkStatus();
}

Lsn FrameLsn(const LogBlock& block, std::uint32_t index) {
  return {block.first().value + index + 1};
}

bool IsWanted(const StopPoint& stop, Lsn lsn, std::int64_t time_us) {
  switch (stop.kind) {
    case StopPoint::Kind::kTime:
      return time_us <= stop.unix_us;
    case StopPoint::Kind::kLsn:
      return stop.before ? lsn < stop.lsn : lsn <= stop.lsn;
    default:
      return true;
  }
}

// Walks the commits of a log and finds where to stop.
class Examiner {
 public:
  Examiner(Lsn from, const StopPoint& stop) : stop_(stop), range_{.from = from, .upto = from} {}

  Result<bool> Visit(const LogBlock& block, std::span<const std::byte> payload) {
    if (block.kind == LogBlockKind::kEnd) {
      end_time_us_ = block.time_unix_us;
      end_ = block.end.lsn();
      return false;
    }
    if (block.kind != LogBlockKind::kFrames) {
      return true;
    }
    CAPSTAN_RETURN_IF_ERROR(CheckFollows(block));
    for (std::uint32_t i = 0; i < block.frame_count; ++i) {
      const WalFrame frame = ReadFrameHeader(&payload[std::size_t{i} * block.frame_bytes()]);
      const Lsn lsn = FrameLsn(block, i);
      if (frame.commit_page_count == 0 || lsn <= range_.from) {
        continue;
      }
      if (stopped_ || !IsWanted(stop_, lsn, block.time_unix_us)) {
        stopped_ = true;
      } else {
        range_.upto = lsn;
        range_.time_us = block.time_unix_us;
      }
    }
    return true;
  }

  Result<LogRange> Finish() {
    if (!end_) {
      return Error(Code::kDataLoss, "the log has no end: a part of it is missing");
    }
    // Up to its end's time there was no other commit. An LSN is known only if it is in the log.
    range_.stop_missed =
        !stopped_ && ((stop_.kind == StopPoint::Kind::kTime && stop_.unix_us > end_time_us_) ||
                      (stop_.kind == StopPoint::Kind::kLsn && stop_.lsn > *end_));
    return range_;
  }

 private:
  Status CheckFollows(const LogBlock& block) {
    const Lsn first = block.first();
    const bool same_generation = previous_ && first.value >> 32 == previous_->value >> 32;
    const bool follows =
        !previous_ || first == *previous_ ||
        (!same_generation && first.value > previous_->value && (first.value & 0xffffffff) == 0);
    if (!follows) {
      return Error(Code::kDataLoss, "the log goes from {} to {}: a part of it is missing",
                   LsnText(*previous_), LsnText(first));
    }
    if (!previous_ && first > range_.from && (first.value & 0xffffffff) != 0) {
      return SqlError(4305, first.value, range_.from.value);
    }
    previous_ = block.end.lsn();
    return OkStatus();
  }

  const StopPoint stop_;
  LogRange range_;
  std::optional<Lsn> previous_;
  std::optional<Lsn> end_;
  std::int64_t end_time_us_ = 0;
  bool stopped_ = false;
};

}  // namespace

Result<LogRange> ExamineLog(int fd, std::uint64_t size, Lsn from, const StopPoint& stop) {
  Examiner examiner(from, stop);
  CAPSTAN_RETURN_IF_ERROR(
      VisitBlocks(fd, size, [&](const LogBlock& block, std::span<const std::byte> payload) {
        return examiner.Visit(block, payload);
      }));
  return examiner.Finish();
}

Status ApplyLog(int fd, std::uint64_t size, const LogRange& range, int database) {
  std::uint64_t bytes = 0;
  const auto apply = [&](const LogBlock& block,
                         std::span<const std::byte> payload) -> Result<bool> {
    for (std::uint32_t i = 0; i < block.frame_count; ++i) {
      const Lsn lsn = FrameLsn(block, i);
      if (lsn <= range.from || lsn > range.upto) {
        continue;
      }
      const auto frame = payload.subspan(std::size_t{i} * block.frame_bytes(), block.frame_bytes());
      const WalFrame header = ReadFrameHeader(frame.data());
      CAPSTAN_RETURN_IF_ERROR(
          WriteFully(database, std::uint64_t{header.page_number - 1} * block.end.page_size,
                     frame.subspan(kSqliteFrameHeaderBytes)));
      if (header.commit_page_count != 0) {
        bytes = std::uint64_t{header.commit_page_count} * block.end.page_size;
      }
    }
    return block.kind != LogBlockKind::kEnd && block.first() < range.upto;
  };
  CAPSTAN_RETURN_IF_ERROR(VisitBlocks(fd, size, apply));
  if (bytes != 0 && ::ftruncate(database, static_cast<off_t>(bytes)) != 0) {
    return OsError(errno, "set the size of the database");
  }
  return OkStatus();
}

Result<StopPoint> ResolveStopPoint(const StopPoint& stop) {
  if (stop.kind != StopPoint::Kind::kMark) {
    return stop;
  }
  constexpr std::string_view kPrefix = "lsn:";
  const auto refuse = [&] {
    return Error(Code::kInvalidArgument, "SQLite's log has no marks, so '{}' is not in it",
                 stop.mark)
        .WithHint("restore to a time (STOPAT), or to an LSN (STOPATMARK = 'lsn:<number>')");
  };
  if (!stop.mark.starts_with(kPrefix)) {
    return refuse();
  }
  StopPoint resolved{.kind = StopPoint::Kind::kLsn, .before = stop.before};
  const std::string_view text = std::string_view(stop.mark).substr(kPrefix.size());
  std::uint64_t first = 0;
  const auto [at, error] = std::from_chars(text.begin(), text.end(), first);
  resolved.lsn = {first};
  if (error != std::errc() || (at != text.end() && *at != ':')) {
    return refuse();
  }
  if (at != text.end()) {
    std::uint32_t frame = 0;
    const auto [end, frame_error] = std::from_chars(at + 1, text.end(), frame);
    if (frame_error != std::errc() || end != text.end()) {
      return refuse();
    }
    resolved.lsn = {first << 32 | frame};
  }
  return resolved;
}

bool IsBehind(const StopPoint& stop, Lsn lsn, std::int64_t time_us) {
  return (stop.kind == StopPoint::Kind::kTime && time_us != 0 && stop.unix_us > time_us) ||
         (stop.kind == StopPoint::Kind::kLsn && stop.lsn > lsn);
}

std::string KeyOf(const std::string& writer_data, const std::string& key) {
  const std::string text = ";" + writer_data;
  const std::size_t at = text.find(";" + key + "=");
  if (at == std::string::npos) {
    return "";
  }
  const std::size_t begin = at + key.size() + 2;
  return text.substr(begin, text.find(';', begin) - begin);
}

}  // namespace capstan::writers
