#include "server/writers/postgres/restoring_state.h"

#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include "server/messages/messages.h"
#include "server/writers/postgres/byte_coding.h"
#include "server/writers/postgres/placed_extents.h"
#include "server/writers/postgres/wal_format.h"

namespace capstan::writers {
namespace {

// A file of bytes, because names of folders may hold anything; a reader needs no more than its
// first line.
constexpr std::string_view kTitle =
    "A restore by Capstan is under way here: continue it with RESTORE ... WITH RECOVERY.\n";
constexpr std::uint16_t kVersion = 1;

constexpr std::uint8_t kWasEmpty = 1;  // bits of a byte
constexpr std::uint8_t kKept = 2;

}  // namespace

Status RestoringFile::Write(const RestoringState& state, const FileOwner& owner) const {
  ByteWriter writer;
  writer.Number(kVersion);
  writer.Number(static_cast<std::uint8_t>(state.phase));
  writer.Text(state.job_name);
  writer.Number(
      static_cast<std::uint8_t>((state.was_empty ? kWasEmpty : 0) | (state.kept ? kKept : 0)));
  writer.Number(state.system_identifier);
  writer.Number(state.server_version);
  writer.Number(state.segment_size);
  writer.Number(state.timeline);
  writer.Number(state.start.value);
  writer.Number(state.consistent.value);
  writer.Number(state.log_end.value);
  writer.Text(state.log_directory);
  writer.Number(static_cast<std::uint32_t>(state.tablespaces.size()));
  for (const std::string& folder : state.tablespaces) {
    writer.Text(folder);
  }
  const std::uint32_t crc = WalCrc32c(0, writer.bytes());
  writer.Number(crc);
  std::string text(kTitle);
  text.append(reinterpret_cast<const char*>(writer.bytes().data()), writer.bytes().size());
  return WriteFileDurably(path_, text, owner);
}

Result<RestoringState> RestoringFile::Read() const {
  std::ifstream file(path_, std::ios::binary);
  if (!file) {
    return Error(Code::kNotFound, "there is no '{}'", path_);
  }
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const Status damaged = Error(Code::kDataLoss, "'{}' is damaged", path_)
                             .WithHint("restore the full backup again, WITH REPLACE");
  const std::size_t least = kTitle.size() + sizeof(std::uint32_t);
  if (!text.starts_with(kTitle) || text.size() < least) {
    return damaged;
  }
  const auto bytes = std::as_bytes(std::span(text)).subspan(kTitle.size());
  const auto content = bytes.first(bytes.size() - sizeof(std::uint32_t));
  ByteReader crc(bytes.last(sizeof(std::uint32_t)));
  ByteReader reader(content);
  if (WalCrc32c(0, content) != crc.Number<std::uint32_t>() ||
      reader.Number<std::uint16_t>() != kVersion) {
    return damaged;
  }
  RestoringState state;
  const auto phase = reader.Number<std::uint8_t>();
  state.phase = static_cast<RestoringState::Phase>(phase);
  state.job_name = reader.Text();
  const auto bits = reader.Number<std::uint8_t>();
  state.was_empty = (bits & kWasEmpty) != 0;
  state.kept = (bits & kKept) != 0;
  state.system_identifier = reader.Number<std::uint64_t>();
  state.server_version = reader.Number<std::uint32_t>();
  state.segment_size = reader.Number<std::uint32_t>();
  state.timeline = reader.Number<std::uint32_t>();
  state.start = {reader.Number<std::uint64_t>()};
  state.consistent = {reader.Number<std::uint64_t>()};
  state.log_end = {reader.Number<std::uint64_t>()};
  state.log_directory = reader.Text();
  const auto count = reader.Number<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
    state.tablespaces.push_back(reader.Text());
  }
  if (!reader.ok() || phase > static_cast<std::uint8_t>(RestoringState::Phase::kStandby)) {
    return damaged;
  }
  return state;
}

Status RestoringFile::Remove() const {
  const std::string directory = path_.substr(0, path_.find_last_of('/'));
  // A restore that died in its recovery may have left them.
  CAPSTAN_RETURN_IF_ERROR(PlacedExtents::Remove(directory));
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(path_));
  return SyncDirectory(directory);
}

Result<UniqueFd> LockDirectory(const std::string& data_directory) {
  UniqueFd fd(::open(data_directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("unable to open the directory '{}'", data_directory));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return SqlError(3101).WithHint(
          fmt::format("another restore is under way in '{}'", data_directory));
    }
    return OsError(errno, fmt::format("unable to lock the directory '{}'", data_directory));
  }
  return fd;
}

std::string ControlFilePath(const std::string& data_directory) {
  return data_directory + "/global/pg_control";
}

std::string HiddenControlFilePath(const std::string& data_directory) {
  return data_directory + "/global/capstan.pg_control";
}

std::string PresentControlFilePath(const std::string& data_directory) {
  std::string hidden = HiddenControlFilePath(data_directory);
  return PathExists(hidden) ? hidden : ControlFilePath(data_directory);
}

}  // namespace capstan::writers
