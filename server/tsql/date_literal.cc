#include "server/tsql/date_literal.h"

#include <array>
#include <chrono>
#include <ctime>
#include <string>
#include <vector>

#include "server/tsql/keywords.h"

namespace capstan::tsql {
namespace {

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

  std::optional<std::tm> Read() {
    if (!ReadDate() || !ReadTime() || at_ != pieces_.size()) {
      return std::nullopt;
    }
    return time_;
  }

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
      int fraction = 0;
      TakeNumber(".", &fraction);
    }
    const bool half = TakeHalfOfDay();
    return (minutes || half) && time_.tm_hour <= 23 && time_.tm_min <= 59 && time_.tm_sec <= 59;
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
};

}  // namespace

std::optional<std::int64_t> ParseDateLiteral(std::string_view text) {
  const auto pieces = Split(text);
  if (!pieces.has_value()) {
    return std::nullopt;
  }
  std::optional<std::tm> time = Reader(*pieces).Read();
  if (!time.has_value()) {
    return std::nullopt;
  }
  time->tm_isdst = -1;
  return static_cast<std::int64_t>(std::mktime(&*time));
}

}  // namespace capstan::tsql
