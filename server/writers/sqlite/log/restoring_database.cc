#include "server/writers/sqlite/log/restoring_database.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/durable_file.h"
#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/page_hash.h"
#include "server/writers/sqlite/sqlite_connection.h"
#include "server/writers/sqlite/sqlite_replacement.h"
#include "vdi/base/crash_point.h"

namespace capstan::writers {
namespace {

constexpr const char* kStateKind = "capstan-sqlite-restoring";
constexpr unsigned kWriteBits = S_IWUSR | S_IWGRP | S_IWOTH;

Status Unwritable(const std::string& path, const Status& cause) {
  return SqlError(65006, path, cause.message())
      .WithOsError(cause.os_error())
      .WithHint(std::string(cause.hint()));
}

// A copy that shares blocks where the file system can.
Status CopyFile(int from, int to) {
  if (::ioctl(to, FICLONE, from) == 0) {
    return OkStatus();
  }
  struct stat info {};
  if (::fstat(from, &info) != 0) {
    return OsError(errno, "copy");
  }
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  const auto size = static_cast<std::uint64_t>(info.st_size);
  for (std::uint64_t at = 0; at < size;) {
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - at));
    CAPSTAN_RETURN_IF_ERROR(ReadFully(from, at, part));
    CAPSTAN_RETURN_IF_ERROR(WriteFully(to, at, part));
    at += part.size();
  }
  return OkStatus();
}

Status ApplyDelta(int fd, const RestoringDatabase::Part& part, int database) {
  std::vector<std::byte> buffer;
  for (std::uint64_t at = 0; at < part.bytes;) {
    std::array<std::uint64_t, 2> header{};
    CAPSTAN_RETURN_IF_ERROR(ReadFully(fd, at, std::as_writable_bytes(std::span(header))));
    buffer.resize(header[1]);
    CAPSTAN_RETURN_IF_ERROR(ReadFully(fd, at + kDeltaRecordHeaderBytes, buffer));
    CAPSTAN_RETURN_IF_ERROR(WriteFully(database, header[0], buffer));
    at += kDeltaRecordHeaderBytes + buffer.size();
  }
  return ::ftruncate(database, static_cast<off_t>(part.size_bytes)) == 0
             ? OkStatus()
             : OsError(errno, "set the size of the database");
}

}  // namespace

// Names beside the target.
struct RestoringDatabase::Places {
  explicit Places(const std::string& physical_name) : paths(physical_name, "") {
    leaf = paths.target.substr(paths.target.rfind('/') + 1);
    prefix = "." + leaf + ".capstan-restoring";
    state = Under(prefix);
    part = Under(prefix + "-part");
    standby = Under(prefix + "-standby");
  }
  std::string Under(const std::string& name) const {
    return paths.directory + (paths.directory == "/" ? "" : "/") + name;
  }
  // What a restoring database that is not this one left.
  void RemoveOthers(const std::string& data_leaf) const {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(paths.directory, error)) {
      const std::string name = entry.path().filename();
      if (name.starts_with(prefix + "-") && name != data_leaf) {
        (void)RemoveFile(entry.path());
      }
    }
  }

  RestorePaths paths;
  std::string leaf;
  std::string prefix;
  std::string state;
  std::string part;
  std::string standby;
};

// The database at the target, taken exclusively.
class RestoringDatabase::Hold {
 public:
  Hold(const Places& places, const Swap& swap)
      : paths(places.paths), released_files(swap.released_files) {
    paths = RestorePaths(places.paths.target, swap.job_name);
  }
  RestorePaths paths;
  std::shared_ptr<ReleasedFiles> released_files;
  UniqueFd directory;
  SqliteLogKeeper::Suspension suspension;
  std::optional<SqliteReplacement> replacement;
  unsigned mode = S_IRUSR | S_IWUSR;  // of what is there

  // Renames `fresh` over it.
  Status Exchange(const std::string& fresh, UniqueFd fd, std::optional<unsigned> mode_wanted) {
    CAPSTAN_RETURN_IF_ERROR(replacement->CopyOwnership(fd.get()));
    if (mode_wanted && ::fchmod(fd.get(), *mode_wanted) != 0) {
      return Unwritable(paths.target, OsError(errno, "set its mode"));
    }
    if (::fsync(fd.get()) != 0) {
      return Unwritable(paths.target, OsError(errno, "sync"));
    }
    // Closed before the file becomes a database that others may open (sqlite_file_guard.h).
    fd.Reset();
    UniqueFd old_file = replacement->HoldOldFile();
    Status status = replacement->Swap();
    const bool swapped = ::access(fresh.c_str(), F_OK) != 0;
    replacement.reset();
    if (released_files != nullptr) {
      released_files->LetGo(std::move(old_file));
    }
    return swapped ? OkStatus() : std::move(status);
  }
};

void RestoringDatabase::HoldDeleter::operator()(Hold* hold) const {
  delete hold;
}

Guid ForkOf(const std::string& path, std::uint64_t inode) {
  const std::string name = fmt::format("{}:{}", inode, path);
  const std::string other = "#" + name;
  const std::array<std::uint64_t, 2> words = {HashBytes(std::as_bytes(std::span(name))),
                                              HashBytes(std::as_bytes(std::span(other)))};
  Guid guid;
  std::memcpy(guid.bytes.data(), words.data(), guid.bytes.size());
  return guid;
}

Result<std::optional<RestoringDatabase>> RestoringDatabase::Find(const std::string& physical_name) {
  const Places places(physical_name);
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadSmallFile(places.state));
  if (!text) {
    return std::optional<RestoringDatabase>();
  }
  const auto record = KeyedRecord::Decode(*text, kStateKind);
  if (!record.ok()) {
    return Annotate(record.status(), places.state);
  }
  State state{.data = record->Text("data"),
              .base = record->LsnOf("base"),
              .redo = record->LsnOf("redo"),
              .time_us = static_cast<std::int64_t>(record->Number("time")),
              .replace = record->Number("replace") != 0};
  if (record->Has("standby_mode")) {
    state.standby_mode = static_cast<unsigned>(record->Number("standby_mode"));
  }
  UniqueFd fd(::open(places.Under(state.data).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() && errno == ENOENT) {
    // It got its place in the instant before a crash.
    CAPSTAN_RETURN_IF_ERROR(RemoveFile(places.state));
    places.RemoveOthers("");
    return std::optional<RestoringDatabase>();
  }
  if (!fd.valid()) {
    return Unwritable(places.Under(state.data), OsError(errno, "open"));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::kFailedPrecondition, "another restore of '{}' is running",
                 places.paths.target);
  }
  RestoringDatabase database(physical_name, std::move(state), std::move(fd));
  if (record->Has("part_kind")) {
    Part part{
        .kind = record->Text("part_kind") == "log" ? BackupKind::kLog : BackupKind::kDifferential,
        .bytes = record->Number("part_bytes"),
        .size_bytes = record->Number("part_size")};
    part.range = {.from = record->LsnOf("part_from"),
                  .upto = record->LsnOf("part_upto"),
                  .time_us = static_cast<std::int64_t>(record->Number("part_time"))};
    CAPSTAN_RETURN_IF_ERROR(database.Apply(part));
  }
  return std::optional<RestoringDatabase>(std::move(database));
}

bool RestoringDatabase::ExistsAt(const std::string& physical_name) {
  const Places places(physical_name);
  const auto text = ReadSmallFile(places.state);
  if (!text.ok() || !*text) {
    return false;
  }
  const auto record = KeyedRecord::Decode(**text, kStateKind);
  return record.ok() && ::access(places.Under(record->Text("data")).c_str(), F_OK) == 0;
}

Result<RestoringDatabase> RestoringDatabase::Adopt(const std::string& physical_name,
                                                   const std::string& finished, State state) {
  const Places places(physical_name);
  // Held until it is replaced: nobody else may be restoring on it.
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<RestoringDatabase> old, Find(physical_name));
  if (old) {
    state.standby_mode = old->state_.standby_mode;
    state.replace = state.replace || old->state_.replace;
  }
  state.data = fmt::format("{}-{}", places.prefix, Guid::Random().ToString());
  const std::string data = places.Under(state.data);
  if (::rename(finished.c_str(), data.c_str()) != 0) {
    return Unwritable(data, OsError(errno, "rename"));
  }
  CAPSTAN_RETURN_IF_ERROR(SyncFolder(places.paths.directory));
  CAPSTAN_CRASH_POINT("sqlite.log.restoring_renamed");
  UniqueFd fd(::open(data.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Unwritable(data, OsError(errno, "open"));
  }
  RestoringDatabase database(physical_name, std::move(state), std::move(fd));
  CAPSTAN_RETURN_IF_ERROR(database.Save(std::nullopt));
  CAPSTAN_CRASH_POINT("sqlite.log.restoring_adopted");
  places.RemoveOthers(database.state_.data);
  return database;
}

Status RestoringDatabase::Abandon(const std::string& physical_name) {
  const Places places(physical_name);
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<RestoringDatabase> old, Find(physical_name));
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(places.state));
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(places.state + ".new"));
  CAPSTAN_CRASH_POINT("sqlite.log.restoring_abandoned");
  places.RemoveOthers("");
  return OkStatus();
}

Status RestoringDatabase::Save(const std::optional<Part>& pending) const {
  KeyedRecord record;
  record.Set("data", state_.data);
  record.Set("base", state_.base);
  record.Set("redo", state_.redo);
  record.Set("time", static_cast<std::uint64_t>(state_.time_us));
  record.Set("replace", std::uint64_t{state_.replace});
  if (state_.standby_mode) {
    record.Set("standby_mode", std::uint64_t{*state_.standby_mode});
  }
  if (pending) {
    record.Set("part_kind", std::string(pending->kind == BackupKind::kLog ? "log" : "delta"));
    record.Set("part_bytes", pending->bytes);
    record.Set("part_size", pending->size_bytes);
    record.Set("part_from", pending->range.from);
    record.Set("part_upto", pending->range.upto);
    record.Set("part_time", static_cast<std::uint64_t>(pending->range.time_us));
  }
  return ReplaceFileDurably(Places(physical_name_).state, record.Encode(kStateKind));
}

Status RestoringDatabase::Take(const std::string& part_path, const Part& part) {
  const Places places(physical_name_);
  if (::rename(part_path.c_str(), places.part.c_str()) != 0) {
    return Unwritable(places.part, OsError(errno, "rename"));
  }
  CAPSTAN_RETURN_IF_ERROR(SyncFolder(places.paths.directory));
  CAPSTAN_CRASH_POINT("sqlite.log.part_ready");
  CAPSTAN_RETURN_IF_ERROR(Save(part));
  CAPSTAN_CRASH_POINT("sqlite.log.part_pending");
  return Apply(part);
}

Status RestoringDatabase::Apply(const Part& part) {
  const Places places(physical_name_);
  const UniqueFd fd(::open(places.part.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return Unwritable(places.part, OsError(errno, "open"));
  }
  Status status = part.kind == BackupKind::kLog
                      ? ApplyLog(fd.get(), part.bytes, part.range, fd_.get())
                      : ApplyDelta(fd.get(), part, fd_.get());
  CAPSTAN_CRASH_POINT("sqlite.log.part_written");
  if (status.ok() && ::fsync(fd_.get()) != 0) {
    status = OsError(errno, "sync");
  }
  if (!status.ok()) {
    return Unwritable(places.Under(state_.data), status);
  }
  state_.redo = part.range.upto;
  state_.time_us = part.range.time_us != 0 ? part.range.time_us : state_.time_us;
  CAPSTAN_RETURN_IF_ERROR(Save(std::nullopt));
  CAPSTAN_CRASH_POINT("sqlite.log.part_taken");
  return RemoveFile(places.part);
}

Result<RestoringDatabase::HeldTarget> RestoringDatabase::HoldTarget(const Swap& swap,
                                                                    bool replace) {
  const Places places(physical_name_);
  HeldTarget hold(new Hold(places, swap));
  CAPSTAN_RETURN_IF_ERROR(CheckMayReplace(
      hold->paths, places.leaf, replace || state_.replace || state_.standby_mode.has_value()));
  hold->directory.Reset(::open(places.paths.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!hold->directory.valid()) {
    return Unwritable(places.paths.target, OsError(errno, "open the directory"));
  }
  if (swap.keeper != nullptr) {
    hold->suspension = swap.keeper->Suspend(places.paths.target);
  }
  struct stat info {};
  if (::stat(places.paths.target.c_str(), &info) == 0) {
    hold->mode = info.st_mode & 07777;
  }
  hold->paths.temporary = places.Under(state_.data);
  hold->replacement.emplace(hold->paths, hold->directory.get());
  CAPSTAN_RETURN_IF_ERROR(hold->replacement->TakeOver(swap.lock_deadline));
  return hold;
}

Status RestoringDatabase::CheckIsDatabase(const std::string& path) const {
  struct stat info {};
  SqliteHeaderBytes bytes{};
  Status status =
      ::fstat(fd_.get(), &info) == 0 ? ReadFully(fd_.get(), 0, bytes) : OsError(errno, "look");
  if (status.ok()) {
    const auto header = ParseSqliteHeader(bytes);
    status = header.status();
    if (header.ok() && header->page_count != 0 &&
        std::uint64_t{header->page_count} * header->page_size !=
            static_cast<std::uint64_t>(info.st_size)) {
      status =
          Error(Code::kDataLoss, "its header counts {} pages of {} bytes, its size is {} bytes",
                header->page_count, header->page_size, info.st_size);
    }
  }
  if (status.ok()) {
    auto connection = SqliteConnection::Open(path, SqliteOpenMode::kImmutable, Deadline::Now());
    status = connection.ok() ? connection->BeginRead() : connection.status();
  }
  return status.ok() ? OkStatus()
                     : SqlError(65006, Places(physical_name_).paths.target,
                                fmt::format("what was restored is no whole database: {}",
                                            status.message()));
}

Result<RestoreOutcome> RestoringDatabase::Recover(HeldTarget hold) {
  const Places places(physical_name_);
  const std::string data = places.Under(state_.data);
  CAPSTAN_RETURN_IF_ERROR(CheckIsDatabase(data));
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) {
    return OsError(errno, data);
  }
  const RestoreOutcome outcome{.reached = state_.redo,
                               .recovery_fork = ForkOf(places.paths.target, info.st_ino)};
  CAPSTAN_CRASH_POINT("sqlite.log.restoring_checked");
  CAPSTAN_RETURN_IF_ERROR(hold->Exchange(data, std::move(fd_), state_.standby_mode));
  CAPSTAN_CRASH_POINT("sqlite.log.restoring_swapped");
  hold->suspension.Replaced(outcome.recovery_fork);
  CAPSTAN_RETURN_IF_ERROR(RemoveFile(places.state));
  places.RemoveOthers("");
  return outcome;
}

Result<RestoreOutcome> RestoringDatabase::MakeStandby(HeldTarget hold) {
  const Places places(physical_name_);
  CAPSTAN_RETURN_IF_ERROR(CheckIsDatabase(places.Under(state_.data)));
  UniqueFd copy(::open(places.standby.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                       S_IRUSR | S_IWUSR));
  Status status = copy.valid() ? CopyFile(fd_.get(), copy.get()) : OsError(errno, "create");
  if (!status.ok()) {
    return Unwritable(places.standby, status);
  }
  if (!state_.standby_mode) {
    state_.standby_mode = hold->mode;
    CAPSTAN_RETURN_IF_ERROR(Save(std::nullopt));
  }
  CAPSTAN_CRASH_POINT("sqlite.log.standby_copied");
  hold->paths.temporary = places.standby;
  hold->replacement->SetTemporary(places.standby);
  CAPSTAN_RETURN_IF_ERROR(
      hold->Exchange(places.standby, std::move(copy), *state_.standby_mode & ~kWriteBits));
  CAPSTAN_CRASH_POINT("sqlite.log.standby_swapped");
  hold->suspension.Replaced(Guid::Random());
  return RestoreOutcome{.reached = state_.redo};
}

}  // namespace capstan::writers
