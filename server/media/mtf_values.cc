#include "server/media/mtf_values.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace capstan::media {
namespace {

constexpr std::int64_t kSecondsPerDay = 86400;
constexpr char16_t kReplacement = 0xFFFD;

struct CivilDate {
  std::int64_t year;
  unsigned month;  // 1..12
  unsigned day;    // 1..31
};

// Days since 1970-01-01 of the proleptic Gregorian calendar; years begin in March, so that the leap
// day is the last of its year.
std::int64_t DaysFromCivil(const CivilDate& date) {
  const std::int64_t year = date.month <= 2 ? date.year - 1 : date.year;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t month = date.month > 2 ? date.month - 3 : date.month + 9;
  const std::int64_t day_of_year = (153 * month + 2) / 5 + date.day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

CivilDate CivilFromDays(std::int64_t days) {
  days += 719468;
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const std::int64_t day_of_era = days - era * 146097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month = (5 * day_of_year + 2) / 153;
  CivilDate date{};
  date.day = static_cast<unsigned>(day_of_year - (153 * month + 2) / 5 + 1);
  date.month = static_cast<unsigned>(month < 10 ? month + 3 : month - 9);
  date.year = year_of_era + era * 400 + (date.month <= 2 ? 1 : 0);
  return date;
}

std::int64_t ZoneSeconds(std::int8_t zone) {
  return zone == kTimeZoneUnset ? 0 : std::int64_t{zone} * 900;
}

void AppendUtf8(std::string* out, char32_t c) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

struct Decoded {
  char32_t c;
  std::size_t size;
};

Decoded DecodeUtf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const unsigned lead = byte(0);
  if (lead < 0x80) {
    return {lead, 1};
  }
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) {
    return {kReplacement, 1};
  }
  char32_t c = lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) {
      return {kReplacement, 1};
    }
    c = c << 6 | (byte(i) & 0x3F);
  }
  if (c < kLeast[size] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
    return {kReplacement, 1};
  }
  return {c, size};
}

}  // namespace

std::uint16_t XorChecksum(Bytes bytes) {
  std::uint16_t sum = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    std::uint16_t word;
    std::memcpy(&word, bytes.data() + i, 2);
    sum = static_cast<std::uint16_t>(sum ^ word);
  }
  return sum;
}

MtfDate PackDate(std::int64_t unix_s, std::int8_t zone) {
  MtfDate packed;
  if (unix_s == 0) {
    return packed;
  }
  const std::int64_t local = unix_s + ZoneSeconds(zone);
  const std::int64_t day = (local >= 0 ? local : local - kSecondsPerDay + 1) / kSecondsPerDay;
  const CivilDate date = CivilFromDays(day);
  if (date.year < 1 || date.year > 9999) {
    return packed;
  }
  const std::int64_t second = local - day * kSecondsPerDay;
  const std::uint64_t bits =
      static_cast<std::uint64_t>(date.year) << 26 | static_cast<std::uint64_t>(date.month) << 22 |
      static_cast<std::uint64_t>(date.day) << 17 | static_cast<std::uint64_t>(second / 3600) << 12 |
      static_cast<std::uint64_t>(second / 60 % 60) << 6 | static_cast<std::uint64_t>(second % 60);
  for (std::size_t i = 0; i < 5; ++i) {
    packed.bytes[i] = static_cast<std::uint8_t>(bits >> (8 * (4 - i)));
  }
  return packed;
}

namespace {

struct CivilTime {
  CivilDate date;
  std::int64_t hour, minute, second;
};

std::optional<CivilTime> UnpackCivil(const MtfDate& date) {
  std::uint64_t bits = 0;
  for (const std::uint8_t byte : date.bytes) {
    bits = bits << 8 | byte;
  }
  const CivilTime time{.date = {.year = static_cast<std::int64_t>(bits >> 26),
                                .month = static_cast<unsigned>(bits >> 22 & 15),
                                .day = static_cast<unsigned>(bits >> 17 & 31)},
                       .hour = static_cast<std::int64_t>(bits >> 12 & 31),
                       .minute = static_cast<std::int64_t>(bits >> 6 & 63),
                       .second = static_cast<std::int64_t>(bits & 63)};
  if (time.date.year < 1 || time.date.year > 9999 || time.date.month < 1 || time.date.month > 12 ||
      time.date.day < 1 || time.hour > 23 || time.minute > 59 || time.second > 59) {
    return std::nullopt;
  }
  return time;
}

}  // namespace

std::int64_t UnpackDate(const MtfDate& date, std::int8_t zone) {
  const std::optional<CivilTime> time = UnpackCivil(date);
  return time ? DaysFromCivil(time->date) * kSecondsPerDay + time->hour * 3600 + time->minute * 60 +
                    time->second - ZoneSeconds(zone)
              : 0;
}

std::optional<std::string> LocalDateText(const MtfDate& date) {
  const std::optional<CivilTime> time = UnpackCivil(date);
  if (!time) {
    return std::nullopt;
  }
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.000", time->date.year, time->date.month,
                     time->date.day, time->hour, time->minute, time->second);
}

std::u16string ToUtf16(std::string_view utf8) {
  std::u16string utf16;
  utf16.reserve(utf8.size());
  while (!utf8.empty()) {
    const Decoded next = DecodeUtf8(utf8);
    utf8.remove_prefix(next.size);
    if (next.c < 0x10000) {
      utf16.push_back(static_cast<char16_t>(next.c));
    } else {
      utf16.push_back(static_cast<char16_t>(0xD800 + ((next.c - 0x10000) >> 10)));
      utf16.push_back(static_cast<char16_t>(0xDC00 + ((next.c - 0x10000) & 0x3FF)));
    }
  }
  return utf16;
}

std::string FromUtf16(Bytes utf16) {
  std::string utf8;
  const std::size_t count = utf16.size() / 2;
  const auto unit = [&](std::size_t i) { return LoadStruct<char16_t>(utf16.subspan(i * 2)); };
  for (std::size_t i = 0; i < count && unit(i) != 0; ++i) {
    char32_t c = unit(i);
    if (c >= 0xD800 && c < 0xE000) {
      const bool pair = c < 0xDC00 && i + 1 < count && (unit(i + 1) & 0xFC00) == 0xDC00;
      c = pair ? 0x10000 + ((c - 0xD800) << 10) + (unit(i + 1) - 0xDC00U) : kReplacement;
      i += pair ? 1 : 0;
    }
    AppendUtf8(&utf8, c);
  }
  return utf8;
}

std::string BlockString(Bytes block, TapeAddress address, std::uint8_t string_type) {
  if (std::size_t{address.offset} + address.size > block.size()) {
    return {};
  }
  const Bytes bytes = block.subspan(address.offset, address.size);
  if (string_type == kStringUtf16) {
    return FromUtf16(bytes);
  }
  std::string text;
  for (std::size_t i = 0; string_type == 1 && i < bytes.size() && bytes[i] != std::byte{0}; ++i) {
    const auto byte = std::to_integer<unsigned char>(bytes[i]);
    AppendUtf8(&text, byte);  // Latin-1: the code page is not recorded anywhere
  }
  return text;
}

bool AllZero(Bytes bytes) {
  // Comparing the bytes with themselves shifted by one lets memcmp do the work.
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace capstan::media
