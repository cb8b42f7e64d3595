// T-SQL's reserved words, and comparison as its keywords compare: without regard to ASCII case.
#pragma once

#include <string>
#include <string_view>

namespace capstan::tsql {

bool EqualsIgnoreCase(std::string_view a, std::string_view b);
std::string ToUpper(std::string_view text);  // ASCII letters only
std::string ToLower(std::string_view text);  // ASCII letters only

// True for the words that cannot be a name without brackets; error 156 speaks of these.
bool IsReserved(std::string_view word);

// True for the words with which the next statement begins where no semicolon ended the last one.
bool StartsStatement(std::string_view word);

}  // namespace capstan::tsql
