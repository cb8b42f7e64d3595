// Names of targets with tags: "/backup/{database}_{type}_{date}.bak". Pure.
#pragma once

#include <string>
#include <string_view>

#include "vdi/base/status.h"

namespace capstan::cli {

// What the tags stand for. A slash in a value becomes an underscore.
struct NameTags {
  std::string database;
  std::string type;    // "FULL"
  std::string server;  // the server's name in its configuration
  std::string date;    // 20261121
  std::string time;    // 093005
};

// kInvalidArgument for a tag that is none, and for a brace that is not closed; "{{" and "}}" are
// braces.
Status CheckNameTemplate(std::string_view text);

// The template that expands to `text` whatever the tags are.
std::string EscapeName(std::string_view text);

// REQUIRES: CheckNameTemplate(text) is OK.
std::string ExpandName(std::string_view text, const NameTags& tags);

}  // namespace capstan::cli
