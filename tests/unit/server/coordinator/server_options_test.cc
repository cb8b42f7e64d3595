#include "server/coordinator/server_options.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using test::HasReason;
using test::IsOk;
using Pair = std::pair<std::string, std::string>;

class ServerOptionsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto catalog = catalog::Catalog::Open(directory_.Under("catalog.db"));
    ASSERT_THAT(catalog, IsOk());
    catalog_ = std::move(catalog).value();
    Load();
  }

  void Load() {
    auto options = ServerOptions::Load(*catalog_);
    ASSERT_THAT(options, IsOk());
    options_ = std::move(options).value();
  }

  // config_value and run_value
  std::pair<std::string, std::string> Values(const std::string& name) {
    const auto table = options_->Shown(name);
    EXPECT_THAT(table, IsOk());
    EXPECT_EQ(table->rows.size(), 1u);
    return {table->rows[0][3].value_or(""), table->rows[0][4].value_or("")};
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<catalog::Catalog> catalog_;
  std::unique_ptr<ServerOptions> options_;
};

// S3-09
TEST_F(ServerOptionsTest, ShowsNameRangeAndBothValues) {
  const auto table = options_->Shown("backup compression default");

  ASSERT_THAT(table, IsOk());
  std::vector<std::string> columns;
  for (const catalog::Column& column : table->columns) {
    columns.push_back(column.name + " " + column.type);
  }
  EXPECT_EQ(columns, (std::vector<std::string>{"name nvarchar(35)", "minimum int", "maximum int",
                                               "config_value int", "run_value int"}));
  EXPECT_EQ(table->rows, (std::vector<std::vector<std::optional<std::string>>>{
                             {"backup compression default", "0", "1", "0", "0"}}));
}

TEST_F(ServerOptionsTest, ShowsAllByName) {
  const auto table = options_->Shown("");
  ASSERT_THAT(table, IsOk());
  std::vector<std::string> names;
  for (const auto& row : table->rows) {
    names.push_back(row[0].value_or(""));
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"backup checksum default", "backup compression algorithm",
                                      "backup compression default", "media retention"}));
  EXPECT_EQ(options_->Configurations().rows.size(), names.size());
}

// S3-10
TEST_F(ServerOptionsTest, ComesIntoForceWithReconfigure) {
  const auto change = options_->Configure("backup compression default", 1);
  ASSERT_THAT(change, IsOk());
  EXPECT_EQ(change->before, 0);
  EXPECT_EQ(change->after, 1);
  EXPECT_EQ(Values("backup compression default"), Pair("1", "0"));
  EXPECT_EQ(options_->Value(OptionName::kBackupCompressionDefault), 0);

  options_->Reconfigure();

  EXPECT_EQ(Values("backup compression default"), Pair("1", "1"));
  EXPECT_EQ(options_->Value(OptionName::kBackupCompressionDefault), 1);
}

TEST_F(ServerOptionsTest, ComesIntoForceWithTheNextStart) {
  ASSERT_THAT(options_->Configure("media retention", 30), IsOk());

  Load();

  EXPECT_EQ(Values("media retention"), Pair("30", "30"));
}

TEST_F(ServerOptionsTest, TakesAPartOfANameThatOnlyOneOptionHas) {
  EXPECT_EQ(options_->Configure("RETENTION", 3).value().name, "media retention");
  EXPECT_EQ(options_->Configure("checksum", 1).value().name, "backup checksum default");
  EXPECT_THAT(options_->Configure("backup compression", 1), HasReason(15124));
  EXPECT_THAT(options_->Configure("max degree of parallelism", 1), HasReason(15123));
  EXPECT_THAT(options_->Shown("xp_cmdshell"), HasReason(15123));
}

TEST_F(ServerOptionsTest, RefusesOtherValues) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, int>>{{"backup compression default", 2},
                                                {"backup compression default", -1},
                                                {"media retention", 366},
                                                {"backup compression algorithm", 1},
                                                {"backup compression algorithm", 2},
                                                {"backup compression algorithm", 5}}) {
    EXPECT_THAT(options_->Configure(name, value), HasReason(15129)) << name << " " << value;
  }
  EXPECT_THAT(options_->Configure("backup compression algorithm", 4), IsOk());
}

TEST_F(ServerOptionsTest, ForgetsAStoredValueThatIsNotPossibleAnyMore) {
  ASSERT_THAT(catalog_->SetOption("media retention", 9999), IsOk());

  Load();

  EXPECT_EQ(options_->Value(OptionName::kMediaRetention), 0);
}

}  // namespace
}  // namespace capstan::coordinator
