#include "server/writers/sqlite/sqlite_page_check.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace capstan::writers {
namespace {

constexpr std::uint32_t kPagesProbed = 8;

}  // namespace

SqlitePageCheck::SqlitePageCheck(Source source)
    : source_(std::move(source)),
      map_(source_.page_size, source_.page_count),
      assembler_(source_.page_size) {}

Result<std::unique_ptr<SqlitePageCheck>> SqlitePageCheck::Begin(Source source) {
  std::unique_ptr<SqlitePageCheck> check(new SqlitePageCheck(std::move(source)));
  std::vector<std::byte> first(check->source_.page_size);
  CAPSTAN_RETURN_IF_ERROR(check->ReadPage(1, first));
  check->map_.UseHeader(first);
  if (check->map_.may_have_checksums()) {
    CAPSTAN_RETURN_IF_ERROR(check->FindOutChecksums(first));
  }
  CAPSTAN_RETURN_IF_ERROR(check->BeginFreeList(first));
  CAPSTAN_RETURN_IF_ERROR(check->BeginRoots());
  return check;
}

Status SqlitePageCheck::BeginRoots() {
  source_.roots.push_back({.page = 1, .kind = SqliteRoot::Kind::kTable});
  std::vector<std::byte> bytes(source_.page_size);
  for (SqliteRoot& root : source_.roots) {
    if (!map_.in_file(root.page)) {
      CAPSTAN_RETURN_IF_ERROR(source_.on_bad_page(
          1, fmt::format("its schema names page {} of {}", root.page, source_.page_count)));
      continue;
    }
    if (root.kind == SqliteRoot::Kind::kTableOrIndex) {
      CAPSTAN_RETURN_IF_ERROR(ReadPage(root.page, bytes));
      root.kind = IsTable(TypeOf(map_.Btree(root.page, bytes))) ? SqliteRoot::Kind::kTable
                                                                : SqliteRoot::Kind::kIndex;
    }
    map_.Expect(root.page, root.kind == SqliteRoot::Kind::kTable);
  }
  return OkStatus();
}

Status SqlitePageCheck::ReadPage(std::uint32_t page, std::span<std::byte> target) const {
  return source_.read(std::uint64_t{page - 1} * source_.page_size, target);
}

// Eight reserved bytes may serve anything. They are checksums if those of the first pages are.
Status SqlitePageCheck::FindOutChecksums(std::span<const std::byte> first_page) {
  std::vector<std::byte> bytes(first_page.begin(), first_page.end());
  std::uint32_t right = 0;
  std::uint32_t written = 0;
  for (std::uint32_t page = 1; page <= std::min(kPagesProbed, source_.page_count); ++page) {
    CAPSTAN_RETURN_IF_ERROR(ReadPage(page, bytes));
    if (!SqlitePageMap::AllZero(bytes)) {
      ++written;
      right += SqlitePageMap::ChecksumIsRight(bytes) ? 1 : 0;
    }
  }
  has_checksums_ = right * 2 > written || (right > 0 && written <= 2);
  return OkStatus();
}

Status SqlitePageCheck::BeginFreeList(std::span<const std::byte> first_page) {
  const auto trunk_at = [&](std::uint32_t page) -> Result<std::optional<SqliteTrunk>> {
    std::vector<std::byte> bytes(source_.page_size);
    CAPSTAN_RETURN_IF_ERROR(ReadPage(page, bytes));
    return map_.ParseTrunk(bytes);
  };
  return map_.WalkFreeList(first_page, trunk_at, source_.on_bad_page);
}

Status SqlitePageCheck::Take(std::uint64_t offset, std::span<const std::byte> bytes) {
  return assembler_.Take(offset, bytes, [&](std::uint32_t page, std::span<const std::byte> whole) {
    return TakePage(page, whole);
  });
}

Status SqlitePageCheck::TakePage(std::uint32_t page, std::span<const std::byte> bytes) {
  if (!map_.in_file(page) || map_.HasBytesOfLocks(page)) {
    return OkStatus();
  }
  if (has_checksums_ && !SqlitePageMap::ChecksumIsRight(bytes) && !SqlitePageMap::AllZero(bytes)) {
    map_.NoteBadChecksum(page);
    return source_.on_bad_page(page, kWrongChecksum);
  }
  if (map_.IsPointerMap(page)) {
    const std::optional<std::string> fault = map_.FaultOfPointerMap(page, bytes);
    return fault ? source_.on_bad_page(page, *fault) : OkStatus();
  }
  map_.NoteBtreePage(page, bytes);
  return OkStatus();
}

Status SqlitePageCheck::Finish() {
  if (map_.AllFit()) {
    return OkStatus();
  }
  std::vector<std::byte> bytes(source_.page_size);
  const auto children_of = [&](std::uint32_t page, std::vector<std::uint32_t>* children) -> Status {
    CAPSTAN_RETURN_IF_ERROR(ReadPage(page, bytes));
    const BtreeBytes btree = map_.Btree(page, bytes);
    for (std::uint32_t i = 0; i < ChildCount(btree); ++i) {
      children->push_back(Child(btree, i));
    }
    return OkStatus();
  };
  return map_.Confirm(source_.roots, children_of, source_.on_bad_page);
}

}  // namespace capstan::writers
