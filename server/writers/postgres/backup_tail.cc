#include "server/writers/postgres/backup_tail.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "server/writers/positioned_io.h"
#include "server/writers/postgres/wal_format.h"

namespace capstan::writers {
namespace {

constexpr const char* kWalFolder = "pg_wal/";

struct Tail {
  const BackupTailParts& parts;
  std::uint32_t place_index;
  ClusterManifest* manifest;
  std::vector<FileStretch> stretches;

  std::shared_ptr<BackupFile> NewFile(const std::string& path) const {
    auto file = std::make_shared<BackupFile>();
    file->place = place_index;
    file->path = path;
    file->physical_name = parts.data_directory + "/" + path;
    return file;
  }
  void List(const BackupFile& file) const {
    manifest->files.push_back(
        {.place = 0, .mode = file.mode, .path = file.path, .size_bytes = file.size_bytes});
  }
  void AddMemory(const std::string& path, std::span<const std::byte> content) {
    auto file = NewFile(path);
    file->content.assign(content.begin(), content.end());
    file->size_bytes = content.size();
    List(*file);
    stretches.push_back({.file = std::move(file), .offset = 0, .length = content.size()});
  }
};

Status MissingLog(const std::string& name) {
  return Error(Code::kDataLoss,
               "the segment {} of the log, which the backup needs, is no longer there", name)
      .WithHint(
          "let the backup have a replication slot (max_replication_slots, and REPLICATION "
          "for its role), or raise wal_keep_size");
}

// A whole segment file, of which what lies behind the stop is zeros: it is of a later time, or left
// over from an earlier one.
Status AddSegment(Tail& tail, Lsn begin) {
  const std::uint64_t segment_bytes = tail.parts.wal_segment_bytes;
  const Lsn end{std::min(begin.value + segment_bytes, tail.parts.stopped.stop.value)};
  // Where a timeline branched off amid a segment, the newer one has all of it.
  const std::string name = WalSegmentName(tail.parts.history.TimelineAt(Lsn{end.value - 1}), begin,
                                          tail.parts.wal_segment_bytes);
  auto file = tail.NewFile(kWalFolder + name);
  struct stat info {};
  if (::stat(file->physical_name.c_str(), &info) != 0) {
    return errno == ENOENT ? MissingLog(name) : OsError(errno, file->physical_name);
  }
  if (static_cast<std::uint64_t>(info.st_size) != segment_bytes) {
    return Error(Code::kDataLoss, "'{}' has {} bytes, not {}", file->physical_name, info.st_size,
                 segment_bytes);
  }
  file->size_bytes = segment_bytes;
  tail.List(*file);
  const std::uint64_t used = end.value - begin.value;
  tail.stretches.push_back({.file = file, .offset = 0, .length = used});
  if (used < segment_bytes) {
    tail.stretches.push_back(
        {.file = file, .offset = used, .length = segment_bytes - used, .zeros = true});
  }
  return OkStatus();
}

Status AddHistory(Tail& tail) {
  if (tail.parts.history.timeline() == 1) {
    return OkStatus();
  }
  const std::string path = kWalFolder + TimelineHistoryName(tail.parts.history.timeline());
  auto file = tail.NewFile(path);
  const UniqueFd fd(::open(file->physical_name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return OsError(errno, file->physical_name);
  }
  std::vector<std::byte> content(static_cast<std::size_t>(info.st_size));
  CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(fd.get(), 0, content), file->physical_name));
  tail.AddMemory(path, content);
  return OkStatus();
}

}  // namespace

Result<std::vector<FileStretch>> MakeBackupTail(const BackupTailParts& parts,
                                                std::uint32_t place_index,
                                                ClusterManifest* manifest) {
  Tail tail{.parts = parts, .place_index = place_index, .manifest = manifest};
  CAPSTAN_RETURN_IF_ERROR(AddHistory(tail));
  for (Lsn begin = WalSegmentBegin(parts.start, parts.wal_segment_bytes);
       begin < parts.stopped.stop; begin.value += parts.wal_segment_bytes) {
    CAPSTAN_RETURN_IF_ERROR(AddSegment(tail, begin));
  }
  tail.AddMemory("backup_label", std::as_bytes(std::span(parts.stopped.backup_label)));
  if (!parts.stopped.tablespace_map.empty()) {
    tail.AddMemory("tablespace_map", std::as_bytes(std::span(parts.stopped.tablespace_map)));
  }
  tail.AddMemory("global/pg_control", parts.control_image);
  return std::move(tail.stretches);
}

Status OpenTailFile(BackupFile& file) {
  if (file.fd.valid() || !file.content.empty() || file.size_bytes == 0) {
    return OkStatus();
  }
  file.fd.Reset(::open(file.physical_name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  return file.fd.valid() ? OkStatus() : OsError(errno, file.physical_name);
}

FileStretch MakeManifestStretch(const ClusterManifest& manifest, std::uint32_t place_index) {
  auto file = std::make_shared<BackupFile>();
  file->place = place_index;
  file->content = EncodeManifest(manifest);
  file->size_bytes = file->content.size();
  file->is_manifest = true;
  const std::uint64_t length = file->size_bytes;
  return {.file = std::move(file), .offset = 0, .length = length};
}

}  // namespace capstan::writers
