#include "server/tsql/date_literal.h"

#include <cstdlib>
#include <ctime>
#include <string>

#include <gtest/gtest.h>

namespace capstan::tsql {
namespace {

class DateLiteral : public testing::Test {
 protected:
  void SetUp() override {
    const char* zone = std::getenv("TZ");
    had_zone_ = zone != nullptr;
    zone_ = had_zone_ ? zone : "";
    UseZone("UTC");
  }
  void TearDown() override {
    if (had_zone_) {
      UseZone(zone_);
    } else {
      ::unsetenv("TZ");
      ::tzset();
    }
  }
  static void UseZone(const std::string& zone) {
    ::setenv("TZ", zone.c_str(), 1);
    ::tzset();
  }

 private:
  bool had_zone_ = false;
  std::string zone_;
};

TEST_F(DateLiteral, ReadsTheUsualSpellings) {
  constexpr std::int64_t kMidnight = 1'924'905'600;  // 2030-12-31 00:00:00 UTC
  for (const char* text :
       {"2030-12-31", "20301231", "12/31/2030", "12-31-2030", "12.31.2030", "2030/12/31",
        "Dec 31 2030", "Dec 31, 2030", "december 31, 2030", "31 DEC 2030", "31 December 2030"}) {
    EXPECT_EQ(ParseDateLiteral(text), kMidnight) << text;
    EXPECT_EQ(ParseDateLiteral(std::string(text) + " 18:05"), kMidnight + 18 * 3600 + 300) << text;
  }
  for (const char* time : {" 18:00", "T18:00:00", " 18:00:00.997", " 6:00 PM", " 6:00PM", " 6PM"}) {
    EXPECT_EQ(ParseDateLiteral(std::string("2030-12-31") + time), kMidnight + 18 * 3600) << time;
  }
  EXPECT_EQ(ParseDateLiteral("20301231 12:30 AM"), kMidnight + 1800);
  EXPECT_EQ(ParseDateLiteral("20301231 12:30 PM"), kMidnight + 12 * 3600 + 1800);
}

TEST_F(DateLiteral, MeansTheZoneOfTheServer) {
  UseZone("Europe/Berlin");
  EXPECT_EQ(ParseDateLiteral("2030-07-01"), 1'909'087'200);  // summer, two hours ahead
}

TEST_F(DateLiteral, RefusesWhatIsNoDate) {
  for (const char* text : {"",
                           " ",
                           "soon",
                           "2030",
                           "2030-12",
                           "2030-13-01",
                           "2030-02-29",
                           "20301332",
                           "31/12/2030",
                           "12/31/30",
                           "2030-12/31",
                           "2030-12-31 25:00",
                           "2030-12-31 12:60",
                           "2030-12-31 12",
                           "2030-12-31T",
                           "2030-12-31 13:00 PM",
                           "2030-12-31 x",
                           "2030-12-31 12:00 x",
                           "1969-12-31",
                           "Decem 31 2030",
                           "99999999999999-01-01",
                           "2030-12-31 ",
                           "0x20301231",
                           "1.5"}) {
    EXPECT_EQ(ParseDateLiteral(text), std::nullopt) << "'" << text << "'";
  }
}

}  // namespace
}  // namespace capstan::tsql
