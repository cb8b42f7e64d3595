#include "plugins/s3/medium.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <tuple>
#include <utility>

#include "plugins/s3/digest.h"
#include "plugins/s3/together.h"

namespace capstan::s3 {
namespace {

constexpr std::size_t kIdSize = 16;  // hex digits
constexpr std::size_t kTokenSizeMax = 64;
constexpr std::size_t kBeginDigits = 19;  // of the largest int64

// What lies behind the first object, by place.
using More = std::map<std::tuple<std::int64_t, std::string, std::uint32_t>, MediumObject>;

bool IsNumber(const std::string& text) {
  return !text.empty() && text.size() <= kBeginDigits &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

More ListedMore(const MediumUrl& url, const std::string& medium_id,
                const std::vector<ListedObject>& listed) {
  More more;
  for (const ListedObject& object : listed) {
    MoreName name;
    if (MoreName::Parse(object.tail, &name) && name.medium_id == medium_id) {
      more[{name.begin, name.token, name.index}] = {.key = MorePrefix(url) + object.tail,
                                                    .begin = name.begin,
                                                    .size = object.size,
                                                    .etag = object.etag,
                                                    .token = name.token};
    }
  }
  return more;
}

// The index 0 of a writing that begins at `begin`; end(): none.
Failure FindNext(const More& more, std::int64_t begin, const std::string& medium,
                 More::const_iterator* next) {
  *next = more.end();
  for (auto it = more.lower_bound({begin, "", 0}); it != more.end(); ++it) {
    if (std::get<0>(it->first) != begin) {
      break;
    }
    if (std::get<2>(it->first) != 0) {
      continue;
    }
    if (*next != more.end()) {
      return Failure::Of(EIO,
                         "medium '" + medium + "' has two continuations, '" + (*next)->second.key +
                             "' and '" + it->second.key + "'",
                         "remove the one that is not wanted");
    }
    *next = it;
  }
  return Failure::None();
}

}  // namespace

bool Medium::Holds(const std::string& token) const {
  return std::any_of(objects.begin(), objects.end(),
                     [&](const MediumObject& object) { return object.token == token; });
}

bool Medium::EndsWith(const std::string& token) const {
  return !objects.empty() && objects.back().token == token;
}

Failure CheckUnlocked(const MediumUrl& url, const std::string& lock_mode,
                      std::int64_t locked_until_unix_s) {
  if (lock_mode.empty() || locked_until_unix_s <= std::time(nullptr)) {
    return Failure::None();
  }
  return Failure::Of(EACCES,
                     "medium '" + url.text + "' is locked until " + UtcText(locked_until_unix_s) +
                         " (object lock, " + lock_mode + ")",
                     "append to it (NOINIT), or write to another name until then");
}

bool IsToken(const std::string& token) {
  return !token.empty() && token.size() <= kTokenSizeMax &&
         std::all_of(token.begin(), token.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '-';
         });
}

std::string MediumIdOf(const std::string& token) {
  return HexOf(Sha256(token)).substr(0, kIdSize);
}

std::string MorePrefix(const MediumUrl& url) {
  return url.key + ".more/";
}

std::string MoreName::tail() const {
  char place[32];
  std::snprintf(place, sizeof(place), "%019lld", static_cast<long long>(begin));
  return medium_id + "." + place + "." + token + "." + std::to_string(index);
}

bool MoreName::Parse(const std::string& tail, MoreName* result) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= tail.size();) {
    const std::size_t dot = std::min(tail.find('.', at), tail.size());
    parts.push_back(tail.substr(at, dot - at));
    at = dot + 1;
  }
  if (parts.size() != 4 || parts[0].size() != kIdSize || !IsNumber(parts[1]) ||
      !IsToken(parts[2]) || !IsNumber(parts[3])) {
    return false;
  }
  *result = {.medium_id = parts[0],
             .begin = std::strtoll(parts[1].c_str(), nullptr, 10),
             .token = parts[2],
             .index = static_cast<std::uint32_t>(std::strtoul(parts[3].c_str(), nullptr, 10))};
  return true;
}

Failure ReadMedium(ObjectStore& store, const MediumUrl& url, Medium* medium) {
  *medium = {};
  ObjectInfo first;
  std::vector<ListedObject> listed;
  Failure failure = Together({[&] { return store.Head(url.key, &first); },
                              [&] { return store.List(MorePrefix(url), &listed, nullptr); }});
  if (failure.failed() || !first.exists) {
    return failure;
  }
  medium->id = MediumIdOf(first.token.empty() ? first.etag : first.token);
  medium->objects.push_back(
      {.key = url.key, .begin = 0, .size = first.size, .etag = first.etag, .token = first.token});
  medium->size = first.size;
  medium->modified_unix_s = first.modified_unix_s;
  medium->lock_mode = first.lock_mode;
  medium->locked_until_unix_s = first.locked_until_unix_s;
  const More more = ListedMore(url, medium->id, listed);
  std::uint32_t index = 0;
  while (!failure.failed()) {
    // The same writing goes on, or else another one begins.
    auto next = more.find({medium->size, medium->objects.back().token, index + 1});
    ++index;
    if (next == more.end()) {
      failure = FindNext(more, medium->size, url.text, &next);
      index = 0;
    }
    // Nothing, or an empty object that would be found over and over.
    if (failure.failed() || next == more.end() || next->second.size == 0) {
      break;
    }
    medium->objects.push_back(next->second);
    medium->size += next->second.size;
  }
  return failure;
}

}  // namespace capstan::s3
