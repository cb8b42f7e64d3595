// A catalog in a temporary directory, and short ways to ask it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/catalog/sqlite_catalog.h"
#include "tests/support/catalog_samples.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::catalog {

using Cells = std::vector<std::optional<std::string>>;

class CatalogTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen(QueryLimits limits = {}) {
    catalog_.reset();
    auto opened = SqliteCatalog::Open(path(), limits);
    ASSERT_THAT(opened, test::IsOk());
    catalog_ = std::move(opened).value();
  }

  std::string path() const { return directory_.Under("catalog.db"); }

  // The rows of a query that must succeed.
  std::vector<Cells> Rows(const std::string& select, const std::vector<LiveTable>& live = {}) {
    auto table = catalog_->Query(select, live);
    EXPECT_THAT(table, test::IsOk()) << select;
    return table.ok() ? table->rows : std::vector<Cells>();
  }
  // The single value of a query that must succeed; "NULL" for NULL.
  std::string Value(const std::string& select) {
    const auto rows = Rows(select);
    EXPECT_EQ(rows.size(), 1u) << select;
    return rows.size() == 1 ? rows[0][0].value_or("NULL") : "";
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<Catalog> catalog_;
};

}  // namespace capstan::catalog
