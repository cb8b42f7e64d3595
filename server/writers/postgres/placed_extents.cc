#include "server/writers/postgres/placed_extents.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <span>
#include <string_view>
#include <tuple>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"
#include "server/writers/postgres/byte_coding.h"
#include "server/writers/postgres/wal_format.h"

namespace capstan::writers {
namespace {

constexpr std::string_view kTitle = "Extents that a restore by Capstan has put here\n";
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kHeadBytes = 2 * sizeof(std::uint32_t);
// An extent fits a transfer buffer, which is smaller by far.
constexpr std::uint32_t kRecordBytesMax = 64U << 20;

std::string PathOf(const std::string& data_directory) {
  return data_directory + "/capstan.extents";
}

Status Unwritable(const std::string& path, int os_error) {
  return SqlError(65006, path, OsErrorText(os_error)).WithOsError(os_error);
}

std::string HeaderOf(const std::string& job_name) {
  ByteWriter content;
  content.Number(kVersion);
  content.Text(job_name);
  const std::uint32_t crc = WalCrc32c(0, content.bytes());
  content.Number(crc);
  std::string header(kTitle);
  header.append(reinterpret_cast<const char*>(content.bytes().data()), content.bytes().size());
  return header;
}

auto KeyOf(std::uint32_t file_index, std::uint64_t offset) {
  return std::tuple(file_index, offset);
}

void Append(std::vector<std::byte>* target, std::span<const std::byte> bytes) {
  target->insert(target->end(), bytes.begin(), bytes.end());
}

std::vector<std::byte> Encode(const PlacedExtent& placed) {
  ByteWriter content;
  content.Number(placed.extent.file_index);
  content.Number(placed.extent.offset);
  content.Number(placed.extent.length);
  content.Number(static_cast<std::uint32_t>(placed.end.size()));
  Append(&content.bytes(), placed.end);
  Append(&content.bytes(), placed.apart);
  ByteWriter head;
  head.Number(static_cast<std::uint32_t>(content.bytes().size()));
  head.Number(WalCrc32c(0, content.bytes()));
  Append(&head.bytes(), content.bytes());
  return std::move(head.bytes());
}

}  // namespace

Result<std::unique_ptr<PlacedExtents>> PlacedExtents::OpenFile(const std::string& data_directory,
                                                               const std::string& job_name,
                                                               int flags) {
  const std::string path = PathOf(data_directory);
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    return errno == ENOENT ? Error(Code::kNotFound, "there is no '{}'", path)
                           : Unwritable(path, errno);
  }
  const std::string wanted = HeaderOf(job_name);
  std::string found(wanted.size(), '\0');
  CAPSTAN_RETURN_IF_ERROR(
      Annotate(ReadOrZero(fd.get(), 0, std::as_writable_bytes(std::span(found))), path));
  if (found != wanted) {
    return Error(Code::kNotFound, "'{}' is not of the restore {}", path, job_name);
  }
  std::unique_ptr<PlacedExtents> extents(new PlacedExtents(path, std::move(fd), wanted.size()));
  return extents;
}

Result<std::unique_ptr<PlacedExtents>> PlacedExtents::Create(const std::string& data_directory,
                                                             const std::string& job_name,
                                                             const FileOwner& owner) {
  CAPSTAN_RETURN_IF_ERROR(WriteFileDurably(PathOf(data_directory), HeaderOf(job_name), owner));
  return OpenFile(data_directory, job_name, O_RDWR);
}

Result<std::unique_ptr<PlacedExtents>> PlacedExtents::Open(const std::string& data_directory,
                                                           const std::string& job_name) {
  CAPSTAN_ASSIGN_OR_RETURN(std::unique_ptr<PlacedExtents> extents,
                           OpenFile(data_directory, job_name, O_RDWR));
  CAPSTAN_RETURN_IF_ERROR(extents->ReadPositions());
  return extents;
}

bool PlacedExtents::IsThere(const std::string& data_directory, const std::string& job_name) {
  return OpenFile(data_directory, job_name, O_RDONLY).ok();
}

Status PlacedExtents::Remove(const std::string& data_directory) {
  return RemoveFile(PathOf(data_directory));
}

Status PlacedExtents::ReadPositions() {
  const MutexLock lock(mutex_);
  while (true) {
    const auto read = Read(end_);
    if (read.status().code() == Code::kDataLoss) {
      break;
    }
    CAPSTAN_RETURN_IF_ERROR(read.status());
    const Extent& extent = read->first.extent;
    positions_.push_back({.offset = extent.offset, .at = end_, .file_index = extent.file_index});
    end_ = read->second;
  }
  // What will be added must not end where something older, of which the begin is gone, goes on.
  if (::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0) {
    return Unwritable(path_, errno);
  }
  std::ranges::stable_sort(positions_, {}, [](const Position& position) {
    return KeyOf(position.file_index, position.offset);
  });
  return OkStatus();
}

Result<std::pair<PlacedExtent, std::uint64_t>> PlacedExtents::Read(std::uint64_t at) const {
  const Status damaged = Error(Code::kDataLoss, "'{}' has no extent at byte {}", path_, at);
  std::array<std::byte, kHeadBytes> head_bytes{};
  CAPSTAN_RETURN_IF_ERROR(ReadFully(fd_.get(), at, head_bytes));
  ByteReader head(head_bytes);
  const auto length = head.Number<std::uint32_t>();
  const auto crc = head.Number<std::uint32_t>();
  if (length > kRecordBytesMax) {
    return damaged;
  }
  std::vector<std::byte> content(length);
  CAPSTAN_RETURN_IF_ERROR(ReadFully(fd_.get(), at + kHeadBytes, content));
  if (WalCrc32c(0, content) != crc) {
    return damaged;
  }
  ByteReader reader(content);
  PlacedExtent placed;
  placed.extent.file_index = reader.Number<std::uint32_t>();
  placed.extent.offset = reader.Number<std::uint64_t>();
  placed.extent.length = reader.Number<std::uint32_t>();
  const auto end_length = reader.Number<std::uint32_t>();
  if (!reader.ok() || end_length > reader.rest_size()) {
    return damaged;
  }
  const auto apart = std::span(content).last(reader.rest_size() - end_length);
  const auto end = std::span(content).last(reader.rest_size()).first(end_length);
  placed.end.assign(end.begin(), end.end());
  placed.apart.assign(apart.begin(), apart.end());
  return std::pair(std::move(placed), at + kHeadBytes + length);
}

Status PlacedExtents::Add(const PlacedExtent& placed) {
  const std::vector<std::byte> record = Encode(placed);
  const MutexLock lock(mutex_);
  if (Status written = WriteFully(fd_.get(), end_, record); !written.ok()) {
    return Unwritable(path_, written.os_error());
  }
  end_ += record.size();
  return OkStatus();
}

Status PlacedExtents::Sync() {
  return ::fsync(fd_.get()) == 0 ? OkStatus() : Unwritable(path_, errno);
}

Result<std::optional<PlacedExtent>> PlacedExtents::Find(const Extent& extent) const {
  const auto behind = std::ranges::upper_bound(
      positions_, KeyOf(extent.file_index, extent.offset), {},
      [](const Position& position) { return KeyOf(position.file_index, position.offset); });
  if (behind == positions_.begin()) {
    return std::optional<PlacedExtent>();
  }
  CAPSTAN_ASSIGN_OR_RETURN(auto read, Read(std::prev(behind)->at));
  const Extent& found = read.first.extent;
  if (found.file_index != extent.file_index || found.offset != extent.offset ||
      found.length != extent.length) {
    return std::optional<PlacedExtent>();
  }
  return std::optional(std::move(read.first));
}

}  // namespace capstan::writers
