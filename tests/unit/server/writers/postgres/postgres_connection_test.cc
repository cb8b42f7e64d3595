#include "server/writers/postgres/postgres_connection.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::HasCode;

TEST(PostgresLocation, IsShownWithoutItsPassword) {
  EXPECT_EQ(DisplayLocation("host=a password=hunter2 port=5433"), "password=*** host=a port=5433");
  const std::string uri = DisplayLocation("//me:hunter2@db.example:5433/shop");
  EXPECT_EQ(uri.find("hunter2"), std::string::npos);
  EXPECT_NE(uri.find("host=db.example"), std::string::npos);
  EXPECT_EQ(DisplayLocation("hunter2 and more"), "(not a connection string)");
}

TEST(PostgresConnection, ThatFailsNamesThePlaceAndNoPassword) {
  const auto connection =
      PostgresConnection::Connect({.location = "host=/nonexistent password=hunter2"});

  EXPECT_THAT(connection, HasCode(Code::kUnavailable));
  EXPECT_NE(connection.status().message().find("/nonexistent"), std::string_view::npos);
  EXPECT_EQ(connection.status().ToString().find("hunter2"), std::string::npos);
}

TEST(PostgresConnection, RefusesWhatIsNoLocationWithoutQuotingIt) {
  const auto connection = PostgresConnection::Connect({.location = "hunter2 and more"});

  EXPECT_THAT(connection, HasCode(Code::kInvalidArgument));
  EXPECT_EQ(connection.status().ToString().find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace capstan::writers
