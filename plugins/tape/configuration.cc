#include "plugins/tape/configuration.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>

// Errors as values, not as exceptions.
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace capstan::tape {
namespace {

constexpr std::uint32_t kBlockSizeMin = 512;
constexpr std::uint32_t kBlockSizeMax = 8U << 20U;
constexpr const char* kKeys =
    "library.NAME, drive.NAME/0, tape0, block_size, eject_when_done and notes";

Failure Wrong(std::string message, std::string hint = "") {
  return {.os_error = EINVAL, .message = std::move(message), .hint = std::move(hint)};
}

std::optional<std::uint32_t> NumberOf(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole ? std::optional(number) : std::nullopt;
}

// What follows `prefix`, whose case does not matter; nullopt: it does not begin so.
std::optional<std::string> Behind(std::string_view prefix, const std::string& text) {
  const bool begins = text.size() > prefix.size() &&
                      std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) {
                        return std::tolower(static_cast<unsigned char>(a)) ==
                               std::tolower(static_cast<unsigned char>(b));
                      });
  return begins ? std::optional(text.substr(prefix.size())) : std::nullopt;
}

bool IsUrl(const std::string& text) {
  return text.starts_with("iscsi://") || text.starts_with("/dev/");
}

bool IsName(const std::string& text) {
  return !text.empty() && text.find('/') == std::string::npos;
}

// "robot/0": the library and the index.
bool SplitDrive(const std::string& text, std::string* library, std::uint32_t* index) {
  const std::size_t slash = text.rfind('/');
  const std::optional<std::uint32_t> number =
      slash == std::string::npos ? std::nullopt : NumberOf(text.substr(slash + 1));
  if (!number || !IsName(text.substr(0, slash))) {
    return false;
  }
  *library = text.substr(0, slash);
  *index = *number;
  return true;
}

std::optional<std::string> TextOf(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) {
    return text;
  }
  if (const auto number = node.value_exact<std::int64_t>()) {
    return std::to_string(*number);
  }
  if (const auto flag = node.value_exact<bool>()) {
    return *flag ? "true" : "false";
  }
  return std::nullopt;
}

std::string PlaceOf(const std::string& path, const toml::source_region& source) {
  return path + ", line " + std::to_string(source.begin.line) + ": ";
}

}  // namespace

Failure Configuration::Set(const std::string& key, const std::string& value) {
  const std::lock_guard lock(mutex_);
  if (const auto name = Behind("library.", key)) {
    if (!IsName(*name) || value.empty() || value.front() == '.' ||
        (value.front() != '/' && !IsUrl(value))) {
      return Wrong("library '" + *name + "' cannot be '" + value + "'",
                   "name it without a slash, and give an absolute folder or the URL of a changer");
    }
    libraries_[*name] = value;
    return {};
  }
  if (const auto name = Behind("drive.", key)) {
    std::string library;
    std::uint32_t index = 0;
    if (!SplitDrive(*name, &library, &index) || !IsUrl(value)) {
      return Wrong("drive '" + *name + "' cannot be '" + value + "'",
                   "a drive is called as its library and number, vault/0, and has a URL: iscsi:// "
                   "or /dev/nst0");
    }
    drives_[*name] = value;
    return {};
  }
  const auto tape = Behind("tape", key);
  if (const auto number = tape ? NumberOf(*tape) : std::nullopt) {
    std::string library;
    std::uint32_t index = 0;
    if (!IsUrl(value) && !SplitDrive(value, &library, &index)) {
      return Wrong(key + " cannot be '" + value + "'",
                   "it is a drive of a library, as in vault/0, or one that stands alone: iscsi:// "
                   "or /dev/nst0");
    }
    tapes_[*number] = value;
    return {};
  }
  if (key == "block_size") {
    const auto size = NumberOf(value);
    if (!size || *size < kBlockSizeMin || *size > kBlockSizeMax || *size % kBlockSizeMin != 0) {
      return Wrong("block_size cannot be '" + value + "'",
                   "it is a multiple of 512 bytes, up to 8388608");
    }
    usage_.block_size = *size;
    return {};
  }
  if (key == "eject_when_done") {
    if (value != "true" && value != "false") {
      return Wrong("eject_when_done cannot be '" + value + "'", "it is true or false");
    }
    usage_.eject_when_done = value == "true";
    return {};
  }
  if (key == "notes") {
    if (!value.starts_with('/')) {
      return Wrong("notes cannot be '" + value + "'", "it is an absolute folder");
    }
    usage_.notes = value;
    return {};
  }
  return Wrong("unknown option '" + key + "'", std::string("there are ") + kKeys);
}

Failure Configuration::Load(const std::string& path) {
  const auto parsed = toml::parse_file(path);
  if (!parsed) {
    return Wrong(PlaceOf(path, parsed.error().source()) +
                 std::string(parsed.error().description()));
  }
  const auto set = [&](const std::string& key, const toml::node& node) {
    const std::optional<std::string> text = TextOf(node);
    Failure failure = text ? Set(key, *text) : Wrong(key + " is neither a text nor a number");
    if (failure.failed()) {
      failure.message.insert(0, PlaceOf(path, node.source()));
    }
    return failure;
  };
  for (const auto& [key, node] : parsed.table()) {
    const toml::table* const table = node.as_table();
    if (table == nullptr) {
      if (Failure failure = set(std::string(key.str()), node); failure.failed()) {
        return failure;
      }
      continue;
    }
    for (const auto& [name, value] : *table) {
      const std::string full = std::string(key.str()) + "." + std::string(name.str());
      if (Failure failure = set(full, value); failure.failed()) {
        return failure;
      }
    }
  }
  return {};
}

Usage Configuration::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

bool Configuration::empty() const {
  const std::lock_guard lock(mutex_);
  return libraries_.empty() && drives_.empty() && tapes_.empty();
}

// REQUIRES: mutex_ is held.
std::string Configuration::KnownDrives() const {
  std::string known;
  for (const auto& [number, what] : tapes_) {
    known += (known.empty() ? "" : ", ") + std::string("\\\\.\\Tape") + std::to_string(number);
  }
  for (const auto& [name, where] : libraries_) {
    known += (known.empty() ? "" : ", ") + name + "/0";
  }
  return known.empty() ? "the agent has none: give it library.NAME or tape0"
                       : "there are " + known + " and so on";
}

Failure Configuration::Find(const std::string& target, DriveAddress* drive) const {
  const std::lock_guard lock(mutex_);
  auto number_text = Behind("\\\\.\\tape", target);
  const auto number = number_text ? NumberOf(*number_text) : std::nullopt;
  if (!number) {
    if (IsUrl(target)) {
      *drive = {.name = target, .url = target};
      return {};
    }
    return FindInLibrary(target, drive);
  }
  const auto tape = tapes_.find(*number);
  if (tape != tapes_.end()) {
    if (IsUrl(tape->second)) {
      *drive = {.name = "tape" + std::to_string(*number), .url = tape->second};
      return {};
    }
    return FindInLibrary(tape->second, drive);
  }
  if (libraries_.size() != 1) {
    return {.os_error = ENODEV,
            .message = "unable to find drive '" + target + "'",
            .hint = KnownDrives()};
  }
  return FindInLibrary(libraries_.begin()->first + "/" + std::to_string(*number), drive);
}

// REQUIRES: mutex_ is held.
Failure Configuration::FindInLibrary(const std::string& target, DriveAddress* drive) const {
  std::string name;
  std::uint32_t index = 0;
  const bool is_drive = SplitDrive(target, &name, &index);
  const auto library = is_drive ? libraries_.find(name) : libraries_.end();
  if (library == libraries_.end()) {
    return {.os_error = ENODEV,
            .message = "unable to find drive '" + target + "'",
            .hint = KnownDrives()};
  }
  *drive = {.name = target, .library = name, .changer = library->second, .index = index};
  if (!IsUrl(library->second)) {
    return {};
  }
  const auto url = drives_.find(target);
  if (url == drives_.end()) {
    return {.os_error = ENODEV,
            .message = "unable to find drive '" + target + "'",
            .hint = "say where it is with the option drive." + target};
  }
  drive->url = url->second;
  return {};
}

}  // namespace capstan::tape
