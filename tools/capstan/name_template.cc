#include "tools/capstan/name_template.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "vdi/base/check.h"

namespace capstan::cli {
namespace {

struct Tag {
  std::string_view name;
  std::string NameTags::*value;
};
constexpr Tag kTags[] = {
    {"database", &NameTags::database}, {"type", &NameTags::type}, {"server", &NameTags::server},
    {"date", &NameTags::date},         {"time", &NameTags::time},
};

const Tag* FindTag(std::string_view name) {
  for (const Tag& tag : kTags) {
    if (tag.name == name) {
      return &tag;
    }
  }
  return nullptr;
}

// Calls `on_text` for stretches that stand for themselves and `on_tag` for tags.
Status Walk(std::string_view text, const std::function<void(std::string_view)>& on_text,
            const std::function<void(const Tag&)>& on_tag) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t brace = std::min(text.find_first_of("{}", at), text.size());
    on_text(text.substr(at, brace - at));
    if (brace == text.size()) {
      break;
    }
    if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
      on_text(text.substr(brace, 1));
      at = brace + 2;
      continue;
    }
    const std::size_t close = text[brace] == '{' ? text.find('}', brace) : std::string_view::npos;
    if (close == std::string_view::npos) {
      return Error(Code::kInvalidArgument, "'{}' has a brace without its partner", text)
          .WithHint("write {{ or }} for a brace that stands for itself");
    }
    const std::string_view name = text.substr(brace + 1, close - brace - 1);
    const Tag* const tag = FindTag(name);
    if (tag == nullptr) {
      return Error(Code::kInvalidArgument, "'{{{}}}' in '{}' is no tag", name, text)
          .WithHint("tags are {database}, {type}, {server}, {date} and {time}");
    }
    on_tag(*tag);
    at = close + 1;
  }
  return OkStatus();
}

}  // namespace

Status CheckNameTemplate(std::string_view text) {
  return Walk(
      text, [](std::string_view) {}, [](const Tag&) {});
}

std::string EscapeName(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    escaped.append(c == '{' || c == '}' ? 2 : 1, c);
  }
  return escaped;
}

std::string ExpandName(std::string_view text, const NameTags& tags) {
  std::string expanded;
  const Status walked = Walk(
      text, [&](std::string_view part) { expanded += part; },
      [&](const Tag& tag) {
        std::string value = tags.*tag.value;
        std::replace(value.begin(), value.end(), '/', '_');
        expanded += value;
      });
  CAPSTAN_CHECK(walked.ok());
  return expanded;
}

}  // namespace capstan::cli
