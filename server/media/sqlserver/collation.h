// Names of collations. SQL Server's media keep a collation as its wire protocol does: locale,
// comparison flags and, for the collations that begin with SQL_, a sort order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace capstan::media::sqlserver {

// `collation` and `sort_id` as in TDS, section "Collation Rule Definition". Nothing if several
// names would fit (versions of a Windows collation with and without _SC look alike), or none is
// known.
std::optional<std::string> CollationName(std::uint32_t collation, std::uint8_t sort_id);

}  // namespace capstan::media::sqlserver
