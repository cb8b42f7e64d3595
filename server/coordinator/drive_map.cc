#include "server/coordinator/drive_map.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

namespace capstan::coordinator {
namespace {

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string Folded(std::string_view text) {
  std::string folded(text);
  std::transform(folded.begin(), folded.end(), folded.begin(), [](char c) {
    return c == '/' ? '\\' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return folded;
}

bool IsDrive(std::string_view text) {
  return text.size() == 2 && IsLetter(text[0]) && text[1] == ':';
}

// "\\server\share", both with a name; \\.\ and \\?\ are devices.
bool IsShare(std::string_view text) {
  if (!text.starts_with("\\\\")) {
    return false;
  }
  const std::size_t slash = text.find('\\', 2);
  return slash != std::string_view::npos && slash > 2 && text[2] != '.' && text[2] != '?' &&
         slash + 1 < text.size();
}

bool IsWindowsPath(std::string_view text) {
  const bool on_drive =
      IsDrive(text.substr(0, 2)) && (text.size() == 2 || text[2] == '\\' || text[2] == '/');
  return on_drive || IsShare(text);
}

}  // namespace

Result<DriveMap> DriveMap::Create(const std::map<std::string, std::string>& entries) {
  DriveMap map;
  for (const auto& [from, to] : entries) {
    std::string key = Folded(from);
    while (key.size() > 2 && key.back() == '\\') {
      key.pop_back();
    }
    if (!IsDrive(key) && !IsShare(key)) {
      return Error(Code::kInvalidArgument, "'{}' is neither a drive nor a share", from)
          .WithHint(R"(write "e:" = "/srv/e" or "\\\\server\\share" = "/mnt/share")");
    }
    if (to.empty() || to.front() != '/') {
      return Error(Code::kInvalidArgument, "'{}' is mapped to '{}', which is no absolute path",
                   from, to);
    }
    map.entries_.emplace_back(std::move(key), to);
  }
  std::sort(map.entries_.begin(), map.entries_.end(), [](const auto& a, const auto& b) {
    return a.first.size() != b.first.size() ? a.first.size() > b.first.size() : a < b;
  });
  const auto twice =
      std::adjacent_find(map.entries_.begin(), map.entries_.end(),
                         [](const auto& a, const auto& b) { return a.first == b.first; });
  if (twice != map.entries_.end()) {
    return Error(Code::kInvalidArgument, "'{}' is mapped twice", twice->first);
  }
  return map;
}

Result<std::string> DriveMap::Map(const std::string& path) const {
  if (!IsWindowsPath(path)) {
    return path;
  }
  const std::string folded = Folded(path);
  for (const auto& [from, to] : entries_) {
    const bool below_it = folded.size() > from.size() && folded[from.size()] == '\\';
    if (!folded.starts_with(from) || (folded.size() != from.size() && !below_it)) {
      continue;
    }
    std::string rest = path.substr(from.size());
    std::replace(rest.begin(), rest.end(), '\\', '/');
    const std::string below =
        std::filesystem::path("/" + rest).lexically_normal().relative_path().string();
    return (std::filesystem::path(to) / below).lexically_normal().string();
  }
  return Error(Code::kNotFound, "no folder of this machine stands for '{}'", path)
      .WithHint(
          fmt::format(R"(map it in the configuration of capstand: [drive_map] {} = "/srv/...")",
                      IsDrive(folded.substr(0, 2)) ? fmt::format("\"{}\"", folded.substr(0, 2))
                                                   : std::string(R"("\\\\server\\share")")));
}

}  // namespace capstan::coordinator
