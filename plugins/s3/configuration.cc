#include "plugins/s3/configuration.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string_view>

// Errors as values, not as exceptions.
#define TOML_EXCEPTIONS 0
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

namespace capstan::s3 {
namespace {

constexpr const char* kDefaultFile = "/etc/capstan/s3.toml";
constexpr mode_t kReadByOthers = 077;

struct TextKey {
  std::string_view name;
  std::string Settings::*member;
};
constexpr std::array kTextKeys = {
    TextKey{"endpoint", &Settings::endpoint},
    TextKey{"region", &Settings::region},
    TextKey{"ca_file", &Settings::ca_file},
};

struct NumberKey {
  std::string_view name;
  int Settings::*member;
  int min;
  int max;
};
constexpr std::array kNumberKeys = {
    NumberKey{"object_lock_days", &Settings::object_lock_days, 0, 36'500},
    NumberKey{"part_size_mb", &Settings::part_size_mb, 5, 1024},
    NumberKey{"memory_mb", &Settings::memory_mb, 5, 65'536},
    NumberKey{"retry_for_s", &Settings::retry_for_s, 0, 86'400},
    NumberKey{"stall_s", &Settings::stall_s, 1, 3'600},
    NumberKey{"connect_timeout_s", &Settings::connect_timeout_s, 1, 600},
    NumberKey{"abandoned_after_h", &Settings::abandoned_after_h, 0, 87'600},
};

constexpr std::array<std::pair<std::string_view, Addressing>, 3> kAddressings = {{
    {"auto", Addressing::kAutomatic},
    {"path", Addressing::kPath},
    {"virtual", Addressing::kVirtualHost},
}};
constexpr std::array<std::pair<std::string_view, ObjectLock>, 3> kObjectLocks = {{
    {"off", ObjectLock::kNone},
    {"governance", ObjectLock::kGovernance},
    {"compliance", ObjectLock::kCompliance},
}};

const char* EnvironmentOf(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

Failure ErrorAt(const std::string& path, const toml::node& node, const std::string& what) {
  const auto line = node.source().begin.line;  // 0: not from a file
  return Failure::Of(EINVAL,
                     path + (line == 0 ? "" : ", line " + std::to_string(line)) + ": " + what);
}

Failure ParseFile(const std::string& path, toml::table* table) {
  auto parsed = toml::parse_file(path);
  if (!parsed) {
    return Failure::Of(EINVAL, path + ", line " +
                                   std::to_string(parsed.error().source().begin.line) + ": " +
                                   std::string(parsed.error().description()));
  }
  *table = std::move(parsed).table();
  return Failure::None();
}

template <typename Value, std::size_t kCount>
Failure ReadWord(const std::string& path, const toml::node& node,
                 const std::array<std::pair<std::string_view, Value>, kCount>& words, Value* out) {
  const auto text = node.value_exact<std::string>();
  std::string known;
  for (const auto& [word, value] : words) {
    if (text && *text == word) {
      *out = value;
      return Failure::None();
    }
    known += (known.empty() ? "" : ", ") + std::string(word);
  }
  return ErrorAt(path, node, "expected one of " + known);
}

Failure ReadNumber(const std::string& path, const NumberKey& key, const toml::node& node,
                   Settings* settings) {
  const auto number = node.value_exact<std::int64_t>();
  if (!number || *number < key.min || *number > key.max) {
    return ErrorAt(path, node,
                   std::string(key.name) + " must be a number from " + std::to_string(key.min) +
                       " to " + std::to_string(key.max));
  }
  settings->*key.member = static_cast<int>(*number);
  return Failure::None();
}

std::string KnownKeys() {
  std::string known = "addressing, object_lock";
  for (const TextKey& key : kTextKeys) {
    known += ", " + std::string(key.name);
  }
  for (const NumberKey& key : kNumberKeys) {
    known += ", " + std::string(key.name);
  }
  return known;
}

// One entry of the file, or of a scope in it.
Failure ReadKey(const std::string& path, std::string_view name, const toml::node& node,
                Settings* settings) {
  for (const TextKey& key : kTextKeys) {
    if (key.name == name) {
      const auto text = node.value_exact<std::string>();
      if (!text || text->empty()) {
        return ErrorAt(path, node, std::string(name) + " must be a text that is not empty");
      }
      settings->*key.member = *text;
      return Failure::None();
    }
  }
  for (const NumberKey& key : kNumberKeys) {
    if (key.name == name) {
      return ReadNumber(path, key, node, settings);
    }
  }
  if (name == "addressing") {
    return ReadWord(path, node, kAddressings, &settings->addressing);
  }
  if (name == "object_lock") {
    return ReadWord(path, node, kObjectLocks, &settings->object_lock);
  }
  return ErrorAt(path, node, "unknown key '" + std::string(name) + "'; known are " + KnownKeys());
}

// Whether the medium lies in what `scope` names: that itself, or something below it.
bool IsWithin(const std::string& medium, const std::string& scope) {
  return medium.compare(0, scope.size(), scope) == 0 &&
         (medium.size() == scope.size() || medium[scope.size()] == '/' || scope.back() == '/');
}

// The table of the array `list` whose `name_key` fits the medium best; null: none does.
const toml::table* BestFit(const toml::array* list, std::string_view name_key,
                           const std::string& medium) {
  const toml::table* best = nullptr;
  std::size_t best_size = 0;
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const toml::table* const entry = list->get(i)->as_table();
    const auto name = entry == nullptr ? std::optional<std::string>()
                                       : (*entry)[name_key].value_exact<std::string>();
    if (name && name->size() > best_size && IsWithin(medium, *name)) {
      best = entry;
      best_size = name->size();
    }
  }
  return best;
}

Failure ReadTable(const std::string& path, const toml::table& table, std::string_view except,
                  Settings* settings) {
  for (const auto& [key, node] : table) {
    if (key.str() == except) {
      continue;
    }
    if (Failure failure = ReadKey(path, key.str(), node, settings); failure.failed()) {
      return failure;
    }
  }
  return Failure::None();
}

// What Configure was told. Function-local, as libraries have no order of initialisation.
struct Options {
  std::mutex mutex;
  toml::table table;  // guarded by mutex
};

Options& TheOptions() {
  static Options options;
  return options;
}

Failure ReadOptions(Settings* settings) {
  Options& options = TheOptions();
  const std::lock_guard lock(options.mutex);
  return ReadTable("the agent's configuration", options.table, "", settings);
}

// The file in its place among the sources, or none of it.
Failure ReadSettings(const char* path, const MediumUrl& url, Settings* settings) {
  if (path == nullptr) {
    return ReadOptions(settings);
  }
  toml::table file;
  Failure failure = ParseFile(path, &file);
  if (!failure.failed()) {
    failure = ReadTable(path, file, "scope", settings);
  }
  if (!failure.failed()) {
    failure = ReadOptions(settings);
  }
  const toml::table* const scope = BestFit(file["scope"].as_array(), "url", url.text);
  return failure.failed() || scope == nullptr ? failure : ReadTable(path, *scope, "url", settings);
}

Failure SplitSecret(const std::string& path, const toml::table& entry, Credentials* credentials) {
  const std::string secret = entry["secret"].value_or("");
  const std::size_t colon = secret.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == secret.size()) {
    return ErrorAt(path, entry, "the secret is not of the form 'access key id:secret key'");
  }
  *credentials = {.access_key = secret.substr(0, colon), .secret_key = secret.substr(colon + 1)};
  return Failure::None();
}

// *found: the file has an entry for the medium.
Failure ReadCredentialFile(const std::string& path, const MediumUrl& url, Credentials* credentials,
                           bool* found) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return errno == ENOENT ? Failure::None()
                           : Failure::Of(errno, "unable to look up credentials '" + path + "'");
  }
  if ((status.st_mode & kReadByOthers) != 0) {
    return Failure::Of(EACCES, "credentials '" + path + "' can be read by others",
                       "chmod 600 '" + path + "'");
  }
  toml::table file;
  if (Failure failure = ParseFile(path, &file); failure.failed()) {
    return failure;
  }
  const toml::table* const entry = BestFit(file["credential"].as_array(), "name", url.text);
  *found = entry != nullptr;
  return *found ? SplitSecret(path, *entry, credentials) : Failure::None();
}

}  // namespace

Failure Configure(const std::string& key, const std::string& value) {
  toml::table table;
  std::int64_t number = 0;
  const char* const end = value.data() + value.size();
  const auto read = std::from_chars(value.data(), end, number);
  if (read.ec == std::errc() && read.ptr == end) {
    table.insert(key, number);
  } else {
    table.insert(key, value);
  }
  Settings tried;
  Failure failure = ReadKey("the agent's configuration", key, *table.get(key), &tried);
  if (!failure.failed()) {
    Options& options = TheOptions();
    const std::lock_guard lock(options.mutex);
    options.table.insert_or_assign(key, *table.get(key));
  }
  return failure;
}

Failure LoadSettings(const MediumUrl& url, Settings* settings) {
  *settings = Settings{};
  const char* path = EnvironmentOf("CAPSTAN_S3_CONFIG");
  if (path == nullptr && ::access(kDefaultFile, F_OK) == 0) {
    path = kDefaultFile;
  }
  if (Failure failure = ReadSettings(path, url, settings); failure.failed()) {
    return failure;
  }
  const std::pair<const char*, std::string*> overrides[] = {
      {"CAPSTAN_S3_ENDPOINT", &settings->endpoint},
      {"CAPSTAN_S3_REGION", &settings->region},
      {"CAPSTAN_S3_CA_FILE", &settings->ca_file},
  };
  for (const auto& [name, member] : overrides) {
    if (const char* const value = EnvironmentOf(name)) {
      *member = value;
    }
  }
  if (settings->memory_mb < settings->part_size_mb) {
    return Failure::Of(EINVAL, "memory_mb must not be less than part_size_mb");
  }
  return Failure::None();
}

Failure LoadCredentials(const MediumUrl& url, Credentials* credentials) {
  bool found = false;
  if (const char* const path = EnvironmentOf("CAPSTAN_CREDENTIALS")) {
    Failure failure = ReadCredentialFile(path, url, credentials, &found);
    if (failure.failed() || found) {
      return failure;
    }
  }
  const char* const id = EnvironmentOf("AWS_ACCESS_KEY_ID");
  const char* const secret = EnvironmentOf("AWS_SECRET_ACCESS_KEY");
  if (id == nullptr || secret == nullptr) {
    return Failure::Of(EKEYREJECTED, "there is no credential for medium '" + url.text + "'",
                       "CREATE CREDENTIAL [s3://" +
                           (url.authority.empty() ? "" : url.authority + "/") + url.bucket +
                           "] WITH IDENTITY = 'S3 Access Key', SECRET = 'id:secret'");
  }
  const char* const token = EnvironmentOf("AWS_SESSION_TOKEN");
  *credentials = {id, secret, token == nullptr ? "" : token};
  return Failure::None();
}

Failure PlaceOf(const MediumUrl& url, const Settings& settings, Place* place) {
  constexpr std::string_view kSeparator = "://";
  std::string endpoint = settings.endpoint;
  if (endpoint.empty()) {
    endpoint = "https://" +
               (url.authority.empty() ? "s3." + settings.region + ".amazonaws.com" : url.authority);
  }
  const std::size_t separator = endpoint.find(kSeparator);
  const std::string scheme = endpoint.substr(0, separator);
  if (separator == std::string::npos || (scheme != "http" && scheme != "https")) {
    return Failure::Of(EINVAL,
                       "endpoint '" + endpoint + "' does not begin with https:// or http://");
  }
  std::string host = endpoint.substr(separator + kSeparator.size());
  while (!host.empty() && host.back() == '/') {
    host.pop_back();
  }
  if (host.empty() || host.find('/') != std::string::npos) {
    return Failure::Of(EINVAL, "endpoint '" + endpoint + "' is more or less than a host");
  }
  // A certificate for *.host does not cover a bucket with dots in its name.
  const bool automatic_virtual =
      host.find(".amazonaws.com") != std::string::npos && url.bucket.find('.') == std::string::npos;
  const bool is_virtual = settings.addressing == Addressing::kVirtualHost ||
                          (settings.addressing == Addressing::kAutomatic && automatic_virtual);
  place->host = is_virtual ? url.bucket + "." + host : host;
  place->origin = scheme + "://" + place->host;
  place->prefix = is_virtual ? "" : "/" + url.bucket;
  return Failure::None();
}

}  // namespace capstan::s3
