#include "server/media/sqlserver/collation.h"

#include <string_view>

namespace capstan::media::sqlserver {
namespace {

struct Named {
  std::uint32_t number;
  std::string_view name;
};

// Sort orders of SQL Server's own collations.
constexpr Named kSortOrders[] = {
    {30, "SQL_Latin1_General_CP437_BIN"},        {31, "SQL_Latin1_General_CP437_CS_AS"},
    {32, "SQL_Latin1_General_CP437_CI_AS"},      {33, "SQL_Latin1_General_Pref_CP437_CI_AS"},
    {34, "SQL_Latin1_General_CP437_CI_AI"},      {40, "SQL_Latin1_General_CP850_BIN"},
    {41, "SQL_Latin1_General_CP850_CS_AS"},      {42, "SQL_Latin1_General_CP850_CI_AS"},
    {43, "SQL_Latin1_General_Pref_CP850_CI_AS"}, {44, "SQL_Latin1_General_CP850_CI_AI"},
    {51, "SQL_Latin1_General_CP1_CS_AS"},        {52, "SQL_Latin1_General_CP1_CI_AS"},
    {53, "SQL_Latin1_General_Pref_CP1_CI_AS"},   {54, "SQL_Latin1_General_CP1_CI_AI"}};

// Locales with one Windows collation each.
constexpr Named kLocales[] = {{0x0401, "Arabic"},
                              {0x0404, "Chinese_Taiwan_Stroke"},
                              {0x0405, "Czech"},
                              {0x0406, "Danish_Norwegian"},
                              {0x0408, "Greek"},
                              {0x0409, "Latin1_General"},
                              {0x040A, "Traditional_Spanish"},
                              {0x040B, "Finnish_Swedish"},
                              {0x040C, "French"},
                              {0x040D, "Hebrew"},
                              {0x040E, "Hungarian"},
                              {0x040F, "Icelandic"},
                              {0x0411, "Japanese"},
                              {0x0412, "Korean_Wansung"},
                              {0x0415, "Polish"},
                              {0x0418, "Romanian"},
                              {0x0419, "Cyrillic_General"},
                              {0x041A, "Croatian"},
                              {0x041B, "Slovak"},
                              {0x041C, "Albanian"},
                              {0x041E, "Thai"},
                              {0x041F, "Turkish"},
                              {0x0422, "Ukrainian"},
                              {0x0424, "Slovenian"},
                              {0x0425, "Estonian"},
                              {0x0426, "Latvian"},
                              {0x0427, "Lithuanian"},
                              {0x042A, "Vietnamese"},
                              {0x0804, "Chinese_PRC"},
                              {0x0C0A, "Modern_Spanish"},
                              {0x10407, "German_PhoneBook"}};

constexpr std::uint32_t kIgnoreCase = 1U << 20;
constexpr std::uint32_t kIgnoreAccent = 1U << 21;
constexpr std::uint32_t kIgnoreWidth = 1U << 22;
constexpr std::uint32_t kIgnoreKana = 1U << 23;
constexpr std::uint32_t kBinary = 1U << 24;
constexpr std::uint32_t kBinary2 = 1U << 25;
constexpr std::uint32_t kUnnamedFlags = 3U << 26;

template <std::size_t N>
std::optional<std::string_view> Find(const Named (&table)[N], std::uint32_t number) {
  for (const Named& entry : table) {
    if (entry.number == number) {
      return entry.name;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> CollationName(std::uint32_t collation, std::uint8_t sort_id) {
  if (sort_id != 0) {
    const std::optional<std::string_view> name = Find(kSortOrders, sort_id);
    return name ? std::optional(std::string(*name)) : std::nullopt;
  }
  const std::optional<std::string_view> base = Find(kLocales, collation & 0xFFFFF);
  // Of later versions each name has a sibling in _SC, which the flags do not tell apart.
  if (!base || collation >> 28 != 0 || (collation & kUnnamedFlags) != 0) {
    return std::nullopt;
  }
  std::string name(*base);
  if ((collation & kBinary) != 0) {
    return name + "_BIN";
  }
  if ((collation & kBinary2) != 0) {
    return name + "_BIN2";
  }
  name += (collation & kIgnoreCase) != 0 ? "_CI" : "_CS";
  name += (collation & kIgnoreAccent) != 0 ? "_AI" : "_AS";
  name += (collation & kIgnoreKana) != 0 ? "" : "_KS";
  name += (collation & kIgnoreWidth) != 0 ? "" : "_WS";
  return name;
}

}  // namespace capstan::media::sqlserver
