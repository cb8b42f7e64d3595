#include "server/writers/sqlite/sqlite_read_back_check.h"

#include <algorithm>
#include <bit>
#include <optional>

#include <fmt/format.h>

#include "server/writers/sqlite/sqlite_schema_rows.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kPageSizeMin = 512;
constexpr std::uint32_t kPageSizeMax = 65536;
constexpr std::size_t kListBytesPerPage = 16;
constexpr std::size_t kListBytesMin = 1 << 16;  // a small database may be mostly lists
constexpr std::size_t kFaultsMax = 10'000;

// Half for children, of which every page in use is one; a quarter each for what is rarer.
std::size_t Share(std::uint32_t page_count, std::size_t quarters) {
  return kListBytesMin + page_count * kListBytesPerPage / 4 * quarters;
}

}  // namespace

Result<std::unique_ptr<PageCheck>> SqliteReadBackCheck::Begin(std::span<const DatabaseFile> files,
                                                              PageErrorHandler on_page_error) {
  if (files.size() != 1) {
    return Error(Code::kInvalidArgument, "an SQLite database is one file, not {}", files.size());
  }
  const DatabaseFile& file = files.front();
  const bool has_pages = std::has_single_bit(file.page_size) && file.page_size >= kPageSizeMin &&
                         file.page_size <= kPageSizeMax && file.size_bytes > 0 &&
                         file.size_bytes % file.page_size == 0 &&
                         file.size_bytes / file.page_size <= kSqlitePageCountMax;
  if (!has_pages) {
    return Error(Code::kInvalidArgument, "{} bytes in pages of {} are no SQLite database",
                 file.size_bytes, file.page_size);
  }
  return std::unique_ptr<PageCheck>(
      new SqliteReadBackCheck(file, static_cast<std::uint32_t>(file.size_bytes / file.page_size),
                              std::move(on_page_error)));
}

SqliteReadBackCheck::SqliteReadBackCheck(const DatabaseFile& file, std::uint32_t page_count,
                                         PageErrorHandler on_page_error)
    : file_(file),
      on_page_error_(std::move(on_page_error)),
      map_(file.page_size, page_count),
      assembler_(file.page_size),
      children_(Share(page_count, 2)),
      trunks_(Share(page_count, 1)),
      roots_(Share(page_count, 1)) {}

Status SqliteReadBackCheck::Take(const Extent& extent, std::span<const std::byte> bytes) {
  if (extent.file_index != 0 || extent.offset > file_.size_bytes ||
      bytes.size() > file_.size_bytes - extent.offset) {
    return Error(Code::kInvalidArgument, "{} bytes at byte {} are not in the database",
                 bytes.size(), extent.offset);
  }
  return assembler_.Take(
      extent.offset, bytes,
      [&](std::uint32_t page, std::span<const std::byte> whole) { return TakePage(page, whole); });
}

void SqliteReadBackCheck::Miss(std::uint32_t file_index, std::uint64_t offset,
                               std::uint64_t length) {
  if (file_index != 0 || length == 0 || offset >= file_.size_bytes) {
    return;
  }
  const std::uint64_t last = std::min(offset + length, file_.size_bytes) - 1;
  missed_.push_back({.first = static_cast<std::uint32_t>(offset / file_.page_size + 1),
                     .last = static_cast<std::uint32_t>(last / file_.page_size + 1)});
}

Status SqliteReadBackCheck::TakePage(std::uint32_t page, std::span<const std::byte> bytes) {
  if (page == 1) {
    TakeFirstPage(bytes);
  }
  if (map_.HasBytesOfLocks(page)) {
    return OkStatus();
  }
  if (!map_.has_header() || map_.may_have_checksums()) {
    TakeChecksum(page, bytes);
  }
  if (map_.IsPointerMap(page)) {
    if (std::optional<std::string> fault = map_.FaultOfPointerMap(page, bytes)) {
      NoteFault(page, *std::move(fault));
    }
    return OkStatus();
  }
  KeepTrunk(page, bytes);
  if (map_.NoteBtreePage(page, bytes)) {
    KeepChildren(page, bytes);
  } else if (map_.IsTablePage(page)) {
    KeepRoots(page, bytes);
  }
  return OkStatus();
}

void SqliteReadBackCheck::TakeFirstPage(std::span<const std::byte> bytes) {
  const auto header = ParseSqliteHeader(bytes.first<kSqliteHeaderBytes>());
  if (!header.ok()) {
    NoteFault(1, std::string(header.status().message()));
    return;
  }
  if (header->page_size != file_.page_size) {
    NoteFault(1, fmt::format("its header says that pages have {} bytes", header->page_size));
    return;
  }
  header_.assign(bytes.begin(), bytes.begin() + kSqliteHeaderBytes);
  map_.UseHeader(bytes);
}

void SqliteReadBackCheck::TakeChecksum(std::uint32_t page, std::span<const std::byte> bytes) {
  if (SqlitePageMap::ChecksumIsRight(bytes)) {
    right_checksums_.fetch_add(1, std::memory_order_relaxed);
  } else if (SqlitePageMap::AllZero(bytes)) {
    return;
  } else {
    map_.NoteBadChecksum(page);
  }
  written_pages_.fetch_add(1, std::memory_order_relaxed);
}

// Nearly no other page looks like one. That which names nothing is not kept: it is what ends a
// list.
void SqliteReadBackCheck::KeepTrunk(std::uint32_t page, std::span<const std::byte> bytes) {
  const std::uint32_t next = LoadBigEndian32(&bytes[0]);
  const std::uint32_t count = LoadBigEndian32(&bytes[4]);
  if (next > map_.page_count() || count > file_.page_size / 4 - 2 || (next == 0 && count == 0)) {
    return;
  }
  const auto in_file = [&](std::uint32_t leaf) { return map_.in_file(leaf); };
  std::vector<std::uint32_t> numbers = {next};
  for (std::uint32_t i = 0; i < count; ++i) {
    numbers.push_back(LoadBigEndian32(&bytes[8 + std::size_t{4} * i]));
  }
  // One that is damaged is to be found in the list, and not to be missing in it.
  if (std::count_if(numbers.begin() + 1, numbers.end(), in_file) * 2 >= std::int64_t{count}) {
    trunks_.Keep(page, numbers);
  }
}

void SqliteReadBackCheck::KeepChildren(std::uint32_t page, std::span<const std::byte> bytes) {
  const BtreeBytes btree = map_.Btree(page, bytes);
  std::vector<std::uint32_t> numbers(ChildCount(btree));
  for (std::uint32_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = Child(btree, i);
  }
  children_.Keep(page, numbers);
}

void SqliteReadBackCheck::KeepRoots(std::uint32_t page, std::span<const std::byte> bytes) {
  const auto roots = SchemaRootsOn(map_.Btree(page, bytes));
  if (!roots) {
    return;
  }
  std::vector<std::uint32_t> numbers;
  for (const SqliteRoot& root : *roots) {
    numbers.push_back(root.page);
    numbers.push_back(static_cast<std::uint32_t>(root.kind));
  }
  roots_.Keep(page, numbers);
}

void SqliteReadBackCheck::NoteFault(std::uint32_t page, std::string cause) {
  MutexLock lock(mutex_);
  if (faults_.size() < kFaultsMax) {
    faults_.emplace_back(page, std::move(cause));
  }
}

Status SqliteReadBackCheck::Tell(std::uint32_t page, const std::string& cause) const {
  return on_page_error_(
      {.file_id = file_.file_id, .page = page, .file = file_.physical_name, .cause = cause});
}

Status SqliteReadBackCheck::Finish() {
  CAPSTAN_RETURN_IF_ERROR(FinishChecksums());
  CAPSTAN_RETURN_IF_ERROR(FinishFaults());
  if (!map_.has_header()) {
    return OkStatus();  // without page 1 nothing else is certain
  }
  for (PageLists* const lists : {&children_, &trunks_, &roots_}) {
    lists->Sort();
  }
  CAPSTAN_RETURN_IF_ERROR(FinishFreeList());
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<SqliteRoot> roots, FinishRoots());
  if (map_.AllFit()) {
    return OkStatus();
  }
  return map_.Confirm(
      roots,
      [&](std::uint32_t page, std::vector<std::uint32_t>* children) {
        const auto kept = children_.Find(page).value_or(std::span<const std::uint32_t>());
        children->assign(kept.begin(), kept.end());
        return OkStatus();
      },
      [&](std::uint32_t page, const std::string& cause) { return Tell(page, cause); });
}

// Of what was missed nothing is said, as of what has been told of.
Status SqliteReadBackCheck::FinishChecksums() {
  const std::uint64_t written = written_pages_;
  const std::uint64_t right = right_checksums_;
  const bool has_checksums = map_.may_have_checksums() && right * 2 > written;
  for (std::uint32_t page = 1; page <= map_.page_count(); ++page) {
    if (!map_.has_bad_checksum(page)) {
      continue;
    }
    if (has_checksums) {
      CAPSTAN_RETURN_IF_ERROR(Tell(page, kWrongChecksum));
    } else {
      map_.ForgetBadChecksum(page);
    }
  }
  for (const PageRange& range : missed_) {
    for (std::uint32_t page = range.first; page <= range.last; ++page) {
      map_.NoteBadChecksum(page);
    }
  }
  return OkStatus();
}

Status SqliteReadBackCheck::FinishFaults() {
  MutexLock lock(mutex_);
  std::sort(faults_.begin(), faults_.end());
  for (const auto& [page, cause] : faults_) {
    if (!map_.has_bad_checksum(page)) {
      CAPSTAN_RETURN_IF_ERROR(Tell(page, cause));
    }
  }
  return OkStatus();
}

Status SqliteReadBackCheck::FinishFreeList() {
  bool certain = trunks_.complete() && !map_.has_bad_checksum(1);
  const auto trunk_at = [&](std::uint32_t page) -> Result<std::optional<SqliteTrunk>> {
    const auto kept = trunks_.Find(page);
    certain = certain && !map_.has_bad_checksum(page);
    if (!kept || !certain) {
      return std::optional<SqliteTrunk>(std::in_place);  // the list ends; the count tells
    }
    return std::optional<SqliteTrunk>(
        SqliteTrunk{.next = kept->front(), .leaves = {kept->begin() + 1, kept->end()}});
  };
  return map_.WalkFreeList(header_, trunk_at, [&](std::uint32_t page, const std::string& cause) {
    return certain ? Tell(page, cause) : OkStatus();
  });
}

Result<std::vector<SqliteRoot>> SqliteReadBackCheck::FinishRoots() {
  std::vector<SqliteRoot> roots = {{.page = 1, .kind = SqliteRoot::Kind::kTable}};
  std::vector<bool> visited(map_.page_count());
  std::vector<std::uint32_t> pending = {1};
  while (!pending.empty()) {
    const std::uint32_t page = pending.back();
    pending.pop_back();
    if (visited[page - 1] || map_.has_bad_checksum(page)) {
      continue;
    }
    visited[page - 1] = true;
    if (const auto children = children_.Find(page)) {
      pending.insert(pending.end(), children->begin(), children->end());
    }
    const auto kept = roots_.Find(page).value_or(std::span<const std::uint32_t>());
    for (std::size_t i = 0; i < kept.size(); i += 2) {
      roots.push_back({.page = kept[i], .kind = static_cast<SqliteRoot::Kind>(kept[i + 1])});
    }
  }
  for (SqliteRoot& root : roots) {
    if (!map_.in_file(root.page)) {
      CAPSTAN_RETURN_IF_ERROR(
          Tell(1, fmt::format("its schema names page {} of {}", root.page, map_.page_count())));
      continue;
    }
    if (root.kind == SqliteRoot::Kind::kTableOrIndex) {
      root.kind = map_.IsTablePage(root.page) ? SqliteRoot::Kind::kTable : SqliteRoot::Kind::kIndex;
    }
    map_.Expect(root.page, root.kind == SqliteRoot::Kind::kTable);
  }
  return roots;
}

}  // namespace capstan::writers
