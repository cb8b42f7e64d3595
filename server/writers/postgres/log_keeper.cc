#include "server/writers/postgres/log_keeper.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <sys/statvfs.h>

#include "server/writers/postgres/log_range.h"
#include "server/writers/postgres/wal_format.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

constexpr std::size_t kSlotNameMax = 63;
constexpr std::size_t kChecksumSize = 9;  // "_1a2b3c4d"
constexpr std::uint64_t kWarnPercent = 80;
// From the end of a full backup until it is recorded, and Keep is called.
constexpr std::chrono::minutes kLinger{10};

struct Slot {
  bool is_there = false;
  bool is_lost = false;  // PostgreSQL itself let go
  std::optional<Lsn> restart;
  Lsn current;
  std::string data_directory;
  std::uint32_t segment_size = 0;
  std::uint64_t bytes() const {
    return restart && current > *restart ? current.value - restart->value : 0;
  }
};

Result<PostgresConnection> Connect(const std::string& location) {
  auto primary =
      PostgresConnection::Connect({.location = location, .wanted = ServerWanted::kPrimary});
  return primary.ok() ? std::move(primary) : PostgresConnection::Connect({.location = location});
}

Result<Slot> AskSlot(PostgresConnection& connection, const std::string& name) {
  CAPSTAN_ASSIGN_OR_RETURN(
      const PostgresRows server,
      connection.Query("SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
                       "ELSE pg_current_wal_flush_lsn() END, current_setting('data_directory'), "
                       "(SELECT bytes_per_wal_segment FROM pg_control_init())"));
  CAPSTAN_ASSIGN_OR_RETURN(
      const PostgresRows rows,
      connection.Query("SELECT restart_lsn, coalesce(wal_status = 'lost', false) "
                       "FROM pg_replication_slots WHERE slot_name = $1",
                       {name}, Deadline::After(std::chrono::seconds(30))));
  Slot slot{.data_directory = server.Text(0, 1),
            .segment_size = static_cast<std::uint32_t>(server.Number(0, 2))};
  slot.current = ParsePostgresLsn(server.Text(0, 0)).value_or(Lsn{});
  if (rows.size() > 0) {
    slot.is_there = true;
    slot.restart = ParsePostgresLsn(rows.Text(0, 0));
    slot.is_lost = rows.IsTrue(0, 1) || !slot.restart;
  }
  return slot;
}

Status MakeSlot(PostgresConnection& connection, const std::string& name) {
  return connection
      .Query("SELECT pg_create_physical_replication_slot($1, true)", {name},
             Deadline::After(std::chrono::seconds(30)))
      .status();
}

Status DropSlot(PostgresConnection& connection, const std::string& name) {
  return connection
      .Query(
          "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
          "WHERE slot_name = $1 AND NOT active",
          {name}, Deadline::After(std::chrono::seconds(30)))
      .status();
}

// Never back, and not beyond what there is.
Status MoveSlot(PostgresConnection& connection, const std::string& name, Lsn lsn) {
  return connection
      .Query(
          "SELECT pg_replication_slot_advance(slot_name, $2::pg_lsn) FROM pg_replication_slots "
          "WHERE slot_name = $1 AND restart_lsn < $2::pg_lsn",
          {name, PostgresLsnText(lsn)}, Deadline::After(std::chrono::seconds(30)))
      .status();
}

// Some timeline's file of the segment is in pg_wal.
bool LogIsThere(const Slot& slot, Lsn lsn) {
  if (!IsWalSegmentSize(slot.segment_size)) {
    return false;
  }
  return NewestHistoryAt(
             {.directory = slot.data_directory + "/pg_wal", .segment_size = slot.segment_size}, lsn)
      .ok();
}

bool IsKeptDatabase(const KeptDatabase& database) {
  return database.recovery_model != RecoveryModel::kSimple && database.log_from.has_value();
}

}  // namespace

std::string LogSlotName(const std::string& database_name) {
  std::string slot = "capstan_";
  for (const char c : database_name) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    slot += allowed ? c : '_';
  }
  if (slot.substr(8) == database_name && slot.size() <= kSlotNameMax) {
    return slot;
  }
  slot.resize(std::min(slot.size(), kSlotNameMax - kChecksumSize));
  return slot + fmt::format("_{:08x}", WalCrc32c(0, std::as_bytes(std::span(database_name))));
}

LogKeeper::LogKeeper(Options options) : options_(options) {
  thread_ = std::jthread([this] { Work(); });
}

LogKeeper::~LogKeeper() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.NotifyAll();
}

void LogKeeper::Keep(std::vector<KeptDatabase> databases) {
  const MutexLock lock(mutex_);
  std::map<std::string, Kept> kept;
  for (KeptDatabase& database : databases) {
    if (database.being_restored) {
      continue;  // there is no cluster to keep log of
    }
    if (!IsKeptDatabase(database)) {
      dropped_.push_back(std::move(database));
      continue;
    }
    Kept now{.database = database};
    const auto before = kept_.find(database.location);
    // A new chain begins where a later full backup ended.
    if (before != kept_.end() && before->second.database.log_from == database.log_from) {
      now.broken = before->second.broken;
      now.warned = before->second.warned;
    }
    const std::string location = database.location;
    kept.insert_or_assign(location, std::move(now));
  }
  for (auto& [location, before] : kept_) {
    if (!kept.contains(location)) {
      dropped_.push_back(before.database);
    }
  }
  kept_ = std::move(kept);
  for (const auto& [location, now] : kept_) {
    lingering_.erase(now.database.name);
  }
  for (auto& [name, lingering] : lingering_) {
    dropped_.push_back({.location = lingering.location, .name = name});
  }
  lingering_.clear();
  asked_ = true;
  changed_.NotifyAll();
}

std::string LogKeeper::BrokenCause(const std::string& location) {
  const MutexLock lock(mutex_);
  const auto found = kept_.find(location);
  return found == kept_.end() ? "" : found->second.broken;
}

Result<LogStatus> LogKeeper::Describe(const std::string& location) {
  std::optional<KeptDatabase> database;
  LogStatus status;
  {
    const MutexLock lock(mutex_);
    const auto found = kept_.find(location);
    if (found == kept_.end()) {
      return status;
    }
    database = found->second.database;
    status.broken = found->second.broken;
  }
  CAPSTAN_ASSIGN_OR_RETURN(PostgresConnection connection, Connect(location));
  CAPSTAN_ASSIGN_OR_RETURN(const Slot slot, AskSlot(connection, LogSlotName(database->name)));
  status.limit_bytes = LimitOf(slot.data_directory);
  if (slot.is_there && !slot.is_lost) {
    status.bytes = slot.bytes();
    status.kept =
        LsnRange{.first = *slot.restart, .last = slot.current, .checkpoint = *slot.restart};
  }
  return status;
}

std::shared_ptr<void> LogKeeper::Prepare(const std::string& location, const std::string& name) {
  {
    const MutexLock lock(mutex_);
    ++prepared_[name];
  }
  const std::string slot_name = LogSlotName(name);
  auto connection = Connect(location);
  Status status = connection.status();
  if (status.ok()) {
    const auto slot = AskSlot(*connection, slot_name);
    status = slot.status();
    if (slot.ok() && slot->is_lost) {
      status = DropSlot(*connection, slot_name);
    }
    if (slot.ok() && status.ok() && (!slot->is_there || slot->is_lost)) {
      status = MakeSlot(*connection, slot_name);
    }
  }
  if (!status.ok()) {
    CAPSTAN_LOG(kWarning, "no slot {} keeps the log of '{}': {}", slot_name, name,
                status.message());
  }
  return {nullptr,
          [self = shared_from_this(), location, name](void*) { self->EndPrepare(location, name); }};
}

void LogKeeper::EndPrepare(const std::string& location, const std::string& name) {
  const MutexLock lock(mutex_);
  if (--prepared_[name] == 0) {
    prepared_.erase(name);
  }
  const bool kept = std::ranges::any_of(
      kept_, [&](const auto& entry) { return entry.second.database.name == name; });
  if (!kept) {
    lingering_[name] = {.location = location, .until = Deadline::After(kLinger)};
  }
}

void LogKeeper::Release(const std::string& location, const std::string& name, Lsn lsn) {
  auto connection = Connect(location);
  Status status = connection.status();
  if (status.ok()) {
    status = MoveSlot(*connection, LogSlotName(name), lsn);
  }
  if (!status.ok()) {
    CAPSTAN_LOG(kWarning, "the log of '{}' before {} cannot be let go yet: {}", name,
                PostgresLsnText(lsn), status.message());
  }
}

void LogKeeper::Work() {
  while (true) {
    std::vector<KeptDatabase> databases;
    std::vector<KeptDatabase> dropped;
    {
      const MutexLock lock(mutex_);
      const Deadline until = Deadline::After(options_.period);
      while (!ending_ && !asked_ && !until.passed()) {
        changed_.WaitUntil(mutex_, until.when());
      }
      if (ending_) {
        return;
      }
      asked_ = false;
      for (const auto& [location, kept] : kept_) {
        databases.push_back(kept.database);
      }
      dropped = std::exchange(dropped_, {});
      std::erase_if(lingering_, [&](const auto& entry) {
        const bool over = entry.second.until.passed();
        if (over) {
          dropped.push_back({.location = entry.second.location, .name = entry.first});
        }
        return over;
      });
    }
    DropSlots(std::move(dropped));
    for (const KeptDatabase& database : databases) {
      Visit(database);
    }
  }
}

void LogKeeper::DropSlots(std::vector<KeptDatabase> databases) {
  for (KeptDatabase& database : databases) {
    Status status = Error(Code::kUnavailable, "a full backup is under way");
    if (!IsPrepared(database.name)) {
      auto connection = Connect(database.location);
      status = connection.ok() ? DropSlot(*connection, LogSlotName(database.name))
                               : std::move(connection).status();
    }
    if (!status.ok()) {
      const MutexLock lock(mutex_);
      dropped_.push_back(std::move(database));  // at the next round
    }
  }
}

bool LogKeeper::IsPrepared(const std::string& name) {
  const MutexLock lock(mutex_);
  return prepared_.contains(name);
}

void LogKeeper::Visit(const KeptDatabase& database) {
  auto connection = Connect(database.location);
  if (!connection.ok()) {
    return;  // it writes no log while it is down
  }
  auto cause = Tend(*connection, database);
  if (!cause.ok()) {
    CAPSTAN_LOG(kWarning, "the log of '{}' cannot be kept: {}", database.name,
                cause.status().message());
    return;
  }
  if (!cause->empty()) {
    SetBroken(database.location, *std::move(cause));
  }
}

Result<std::string> LogKeeper::Tend(PostgresConnection& connection, const KeptDatabase& database) {
  const std::string name = LogSlotName(database.name);
  const Lsn wanted = *database.log_from;
  if (!BrokenCause(database.location).empty()) {
    return std::string();  // nothing is kept until the next full backup
  }
  CAPSTAN_ASSIGN_OR_RETURN(Slot slot, AskSlot(connection, name));
  const bool was_lost = slot.is_lost;
  if (was_lost) {
    CAPSTAN_RETURN_IF_ERROR(DropSlot(connection, name));
  }
  if (!slot.is_there || was_lost) {
    CAPSTAN_RETURN_IF_ERROR(MakeSlot(connection, name));
    CAPSTAN_ASSIGN_OR_RETURN(slot, AskSlot(connection, name));
    if (!LogIsThere(slot, wanted)) {
      CAPSTAN_RETURN_IF_ERROR(DropSlot(connection, name));
      return fmt::format("{} and the log from {} on is not there any more",
                         was_lost ? "PostgreSQL let go of the slot (max_slot_wal_keep_size)"
                                  : "the replication slot was not there",
                         PostgresLsnText(wanted));
    }
    return std::string();
  }
  CAPSTAN_RETURN_IF_ERROR(MoveSlot(connection, name, std::min(wanted, slot.current)));
  CAPSTAN_ASSIGN_OR_RETURN(slot, AskSlot(connection, name));
  const std::uint64_t limit = LimitOf(slot.data_directory);
  if (limit == 0 || slot.bytes() <= limit) {
    if (limit != 0 && slot.bytes() > limit / 100 * kWarnPercent) {
      Warn(database.location, slot.bytes(), limit);
    }
    return std::string();
  }
  CAPSTAN_RETURN_IF_ERROR(DropSlot(connection, name));
  return fmt::format("{} bytes of log were kept, more than the limit of {}, and were let go",
                     slot.bytes(), limit);
}

void LogKeeper::Warn(const std::string& location, std::uint64_t bytes, std::uint64_t limit) {
  const MutexLock lock(mutex_);
  const auto found = kept_.find(location);
  if (found != kept_.end() && !std::exchange(found->second.warned, true)) {
    CAPSTAN_LOG(kWarning,
                "the log of '{}' that waits for a log backup has {} bytes, and is let go beyond {}",
                found->second.database.name, bytes, limit);
  }
}

void LogKeeper::SetBroken(const std::string& location, std::string cause) {
  const MutexLock lock(mutex_);
  const auto found = kept_.find(location);
  if (found != kept_.end() && found->second.broken.empty()) {
    CAPSTAN_LOG(kError, "the log chain of '{}' is broken: {}; take a full or differential backup",
                found->second.database.name, cause);
    found->second.broken = std::move(cause);
  }
}

std::uint64_t LogKeeper::LimitOf(const std::string& data_directory) const {
  if (options_.limit_bytes != 0) {
    return options_.limit_bytes;
  }
  struct statvfs info {};
  if (::statvfs((data_directory + "/pg_wal").c_str(), &info) != 0) {
    return 0;
  }
  return info.f_blocks * info.f_frsize / 100 * options_.limit_percent;
}

}  // namespace capstan::writers
