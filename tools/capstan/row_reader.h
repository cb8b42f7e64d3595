// Result sets by column name, for commands that lay them out anew. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tools/client/response.h"
#include "vdi/base/status.h"

namespace capstan::cli {

class RowReader {
 public:
  // Borrows both. REQUIRES: the row is one of the result set's.
  RowReader(const ResultSet& result_set, const Row& row) : result_set_(result_set), row_(row) {}

  // Empty for NULL and for a column that the server does not have.
  std::string Text(std::string_view column) const;
  // nullopt too if the value is not a whole number, or negative.
  std::optional<std::uint64_t> Unsigned(std::string_view column) const;

 private:
  const ResultSet& result_set_;
  const Row& row_;
};

enum class Unit { kNone, kBytes, kBytesPerSecond, kMilliseconds, kPercent };

struct ColumnView {
  std::string_view column;  // as the server names it
  std::string_view title;
  Unit unit = Unit::kNone;
};

// The named columns in the given order, with figures as people read them; NULL becomes "-".
ResultSet Laid(const ResultSet& result_set, std::span<const ColumnView> views);

}  // namespace capstan::cli
