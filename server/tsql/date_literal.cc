#include "server/tsql/date_literal.h"

#include <array>
#include <chrono>
#include <ctime>
#include <string>
#include <vector>

#include "server/tsql/keywords.h"

namespace capstan::tsql {
namespace {

constexpr std::int64_t kSecond = 1'000'000;  // microseconds

constexpr std::array<std::string_view, 12> kMonths = {
    "JANUARY", "FEBRUARY", "MARCH",     "APRIL",   "MAY",      "JUNE",
    "JULY",    "AUGUST",   "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER"};

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// A run of digits or of letters, and what stands in front of it.
struct Piece {
  std::string_view text;
  std::string_view before;  // blanks and punctuation
  bool is_number = false;
  int number = 0;
};

// nullopt for a number of more than 8 digits.
std::optional<std::vector<Piece>> Split(std::string_view text) {
  std::vector<Piece> pieces;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t before = at;
    while (at < text.size() && !IsDigit(text[at]) && !IsLetter(text[at])) {
      ++at;
    }
    const std::size_t begin = at;
    const bool is_number = at < text.size() && IsDigit(text[at]);
    while (at < text.size() && (is_number ? IsDigit(text[at]) : IsLetter(text[at]))) {
      ++at;
    }
    Piece piece{.text = text.substr(begin, at - begin),
                .before = text.substr(before, begin - before),
                .is_number = is_number};
    if (piece.text.size() > 9) {
      return std::nullopt;
    }
    for (const char digit : is_number ? piece.text : std::string_view()) {
      piece.number = piece.number * 10 + (digit - '0');
    }
    pieces.push_back(piece);
  }
  return pieces;
}

// 1..12, or 0 if the word is no month or fewer than three of its letters.
int MonthOf(std::string_view word) {
  const std::string upper = ToUpper(word);
  for (std::size_t i = 0; i < kMonths.size(); ++i) {
    if (upper == kMonths[i] || upper == kMonths[i].substr(0, 3)) {
      return static_cast<int>(i) + 1;
    }
  }
  return 0;
}

class Reader {
 public:
  explicit Reader(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {}

  // False: the text is no date.
  bool Read() { return ReadDate() && ReadTime() && at_ == pieces_.size(); }

  const std::tm& time() const { return time_; }
  std::int64_t microseconds() const { return microseconds_; }  // behind the second

 private:
  const Piece* Peek() const { return at_ < pieces_.size() ? &pieces_[at_] : nullptr; }

  bool ReadDate() {
    if (pieces_.empty() || !pieces_[0].before.empty()) {
      return false;
    }
    if (pieces_[0].is_number && pieces_[0].text.size() == 8) {
      const int number = pieces_[at_++].number;
      return Set(number / 10000, number / 100 % 100, number % 100);
    }
    if (pieces_.size() < 3) {
      return false;
    }
    const Piece* const date = pieces_.data();
    at_ = 3;
    if (MonthOf(date[0].text) != 0) {  // Dec 31, 2030
      return Between(date[1], " ") && (Between(date[2], " ") || Between(date[2], ", ")) &&
             SetPieces(date[2], MonthOf(date[0].text), date[1]);
    }
    if (MonthOf(date[1].text) != 0) {  // 31 Dec 2030
      return Between(date[1], " ") && Between(date[2], " ") &&
             SetPieces(date[2], MonthOf(date[1].text), date[0]);
    }
    const bool separated =
        date[1].before == date[2].before &&
        (Between(date[1], "-") || Between(date[1], "/") || Between(date[1], "."));
    if (!separated || !date[0].is_number || !date[1].is_number) {
      return false;
    }
    return date[0].text.size() == 4 ? SetPieces(date[0], date[1].number, date[2])
                                    : SetPieces(date[2], date[0].number, date[1]);
  }

  static bool Between(const Piece& piece, std::string_view separator) {
    return piece.before == separator;
  }

  bool SetPieces(const Piece& year, int month, const Piece& day) {
    return year.is_number && year.text.size() == 4 && day.is_number && day.text.size() <= 2 &&
           Set(year.number, month, day.number);
  }

  bool Set(int year, int month, int day) {
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    time_.tm_year = year - 1900;
    time_.tm_mon = month - 1;
    time_.tm_mday = day;
    return date.ok() && year >= 1970 && year <= 9999;
  }

  bool ReadTime() {
    if (Peek() == nullptr) {
      return true;
    }
    if (Peek()->text == "T" && Peek()->before.empty()) {
      ++at_;
    } else if (Peek()->before != " ") {
      return false;
    }
    if (Peek() == nullptr || !Peek()->is_number || Peek()->text.size() > 2) {
      return false;
    }
    time_.tm_hour = pieces_[at_++].number;
    const bool minutes = TakeNumber(":", &time_.tm_min);
    if (minutes && TakeNumber(":", &time_.tm_sec)) {
      ReadFraction();
    }
    const bool half = TakeHalfOfDay();
    return (minutes || half) && time_.tm_hour <= 23 && time_.tm_min <= 59 && time_.tm_sec <= 59;
  }

  // What is beyond microseconds is left out.
  void ReadFraction() {
    const Piece* const piece = Peek();
    int fraction = 0;
    if (!TakeNumber(".", &fraction)) {
      return;
    }
    constexpr std::size_t kDigits = 6;
    for (std::size_t digits = piece->text.size(); digits > kDigits; --digits) {
      fraction /= 10;
    }
    microseconds_ = fraction;
    for (std::size_t digits = piece->text.size(); digits < kDigits; ++digits) {
      microseconds_ *= 10;
    }
  }

  bool TakeNumber(std::string_view before, int* out) {
    const Piece* const piece = Peek();
    if (piece == nullptr || !piece->is_number || piece->before != before) {
      return false;
    }
    *out = piece->number;
    ++at_;
    return true;
  }

  // AM or PM; an hour that does not go with it becomes one that is none.
  bool TakeHalfOfDay() {
    const Piece* const piece = Peek();
    const bool pm = piece != nullptr && EqualsIgnoreCase(piece->text, "PM");
    if (piece == nullptr || !(pm || EqualsIgnoreCase(piece->text, "AM"))) {
      return false;
    }
    ++at_;
    const bool valid = time_.tm_hour >= 1 && time_.tm_hour <= 12;
    time_.tm_hour = valid ? time_.tm_hour % 12 + (pm ? 12 : 0) : 24;
    return true;
  }

  const std::vector<Piece> pieces_;
  std::size_t at_ = 0;
  std::tm time_{};
  std::int64_t microseconds_ = 0;
};

// Takes "Z", "+hh:mm" or "+hhmm" from the end of a text with a time: seconds east of Greenwich.
// nullopt: there is none. A sign behind which nothing of the kind stands stays where it is, for the
// date to be refused.
std::optional<int> TakeZone(std::string_view& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return std::nullopt;
  }
  const auto cut = [&](std::size_t at) {
    text = text.substr(0, at);
    while (!text.empty() && text.back() == ' ') {
      text.remove_suffix(1);
    }
  };
  if (text.back() == 'Z' || text.back() == 'z') {
    cut(text.size() - 1);
    return 0;
  }
  const std::size_t sign = text.find_first_of("+-", colon);
  if (sign == std::string_view::npos) {
    return std::nullopt;
  }
  std::string digits;
  for (const char c : text.substr(sign + 1)) {
    if (IsDigit(c)) {
      digits += c;
    } else if (c != ':' || digits.size() != 2) {
      return std::nullopt;
    }
  }
  if (digits.size() != 4) {
    return std::nullopt;
  }
  const int hours = std::stoi(digits.substr(0, 2));
  const int minutes = std::stoi(digits.substr(2));
  if (hours > 14 || minutes > 59) {
    return std::nullopt;
  }
  const int seconds = hours * 3600 + minutes * 60;
  const bool west = text[sign] == '-';
  cut(sign);
  return west ? -seconds : seconds;
}

// Microseconds since 1970. `seconds_east`: of the time zone; nullopt: that of this process.
std::optional<std::int64_t> ReadMoment(std::string_view text, std::optional<int> seconds_east) {
  auto pieces = Split(text);
  if (!pieces.has_value()) {
    return std::nullopt;
  }
  Reader reader(*std::move(pieces));
  if (!reader.Read()) {
    return std::nullopt;
  }
  std::tm time = reader.time();
  time.tm_isdst = -1;
  const std::int64_t unix_s = seconds_east.has_value()
                                  ? static_cast<std::int64_t>(::timegm(&time)) - *seconds_east
                                  : static_cast<std::int64_t>(std::mktime(&time));
  return unix_s * kSecond + reader.microseconds();
}

}  // namespace

std::optional<std::int64_t> ParseDateLiteral(std::string_view text) {
  const std::optional<std::int64_t> unix_us = ReadMoment(text, std::nullopt);
  return unix_us.has_value() ? std::optional(*unix_us / kSecond) : std::nullopt;
}

std::optional<std::int64_t> ParseMoment(std::string_view text) {
  const std::optional<int> seconds_east = TakeZone(text);  // which leaves the rest
  return ReadMoment(text, seconds_east);
}

}  // namespace capstan::tsql
