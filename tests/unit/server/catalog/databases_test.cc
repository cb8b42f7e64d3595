#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;

class CatalogDatabases : public CatalogTest {
 protected:
  Database Sales() {
    return {.database_id = 0,
            .name = "sales",
            .scheme = "sqlite",
            .location = "/srv/sales.db",
            .created_unix_s = 1'700'000'000};
  }
  Database Named(const std::string& name) {
    Database database = Sales();
    database.name = name;
    return database;
  }
};

TEST_F(CatalogDatabases, SurviveReopening) {
  ASSERT_THAT(catalog_->AddDatabase(Sales()), IsOk());
  Reopen();

  const auto found = catalog_->FindDatabase("sales");

  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->name, "sales");
  EXPECT_EQ(found->scheme, "sqlite");
  EXPECT_EQ(found->location, "/srv/sales.db");
  EXPECT_EQ(found->created_unix_s, 1'700'000'000);
}

TEST_F(CatalogDatabases, AreNumberedFromFiveAndNumbersAreNotReused) {
  ASSERT_THAT(catalog_->AddDatabase(Named("a")), IsOk());
  ASSERT_THAT(catalog_->AddDatabase(Named("b")), IsOk());
  ASSERT_THAT(catalog_->RemoveDatabase("b"), IsOk());
  ASSERT_THAT(catalog_->AddDatabase(Named("c")), IsOk());

  const auto all = catalog_->ListDatabases();

  ASSERT_THAT(all, IsOk());
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].name, "a");
  EXPECT_EQ((*all)[0].database_id, 5);
  EXPECT_EQ((*all)[1].name, "c");
  EXPECT_EQ((*all)[1].database_id, 7);
}

TEST_F(CatalogDatabases, RefuseATakenName) {
  ASSERT_THAT(catalog_->AddDatabase(Sales()), IsOk());

  EXPECT_THAT(catalog_->AddDatabase(Sales()), testing::AllOf(HasReason(1801), MessageHas("sales")));
}

TEST_F(CatalogDatabases, AreComparedCaseSensitively) {
  ASSERT_THAT(catalog_->AddDatabase(Sales()), IsOk());

  EXPECT_THAT(catalog_->AddDatabase(Named("Sales")), IsOk());
  EXPECT_THAT(catalog_->FindDatabase("SALES"), HasReason(911));
}

TEST_F(CatalogDatabases, ReportAnUnknownName) {
  EXPECT_THAT(catalog_->FindDatabase("nosuch"),
              testing::AllOf(HasReason(911), MessageHas("nosuch")));
  EXPECT_THAT(catalog_->RemoveDatabase("nosuch"), HasReason(911));
}

TEST_F(CatalogDatabases, KeepNamesThatLookLikeSql) {
  const std::string name = "x'); DROP TABLE catalog_database; --\"[é]";
  ASSERT_THAT(catalog_->AddDatabase(Named(name)), IsOk());

  const auto found = catalog_->FindDatabase(name);

  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->name, name);
}

}  // namespace
}  // namespace capstan::catalog
