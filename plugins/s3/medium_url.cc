#include "plugins/s3/medium_url.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace capstan::s3 {
namespace {

constexpr std::string_view kScheme = "s3://";
constexpr std::size_t kKeySizeMax = 1024;  // bytes, of every S3
// Room for what is put behind the key of an appended set.
constexpr std::size_t kOwnSuffixSizeMax = 160;
constexpr std::size_t kBucketSizeMin = 3;
constexpr std::size_t kBucketSizeMax = 63;

bool IsUnreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

std::string Encode(std::string_view text, bool keep_slash) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    if (IsUnreserved(c) || (keep_slash && c == '/')) {
      result += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      result += {'%', kDigits[byte >> 4U], kDigits[byte & 15U]};
    }
  }
  return result;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// A bucket's name is part of a host name or of a path: nothing else may be smuggled in.
bool IsBucketName(std::string_view name) {
  return name.size() >= kBucketSizeMin && name.size() <= kBucketSizeMax &&
         std::all_of(name.begin(), name.end(), [](char c) { return IsUnreserved(c) && c != '~'; });
}

bool IsHostAndPort(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  return colon != std::string_view::npos && colon > 0 && colon + 1 < text.size() &&
         std::all_of(text.begin() + static_cast<std::ptrdiff_t>(colon) + 1, text.end(),
                     [](char c) { return c >= '0' && c <= '9'; }) &&
         std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(colon),
                     [](char c) { return IsUnreserved(c) || c == '[' || c == ']' || c == ':'; });
}

Failure Malformed(const std::string& target, const std::string& why) {
  return Failure::Of(EINVAL, "'" + target + "' is no name of a medium: " + why +
                                 "; write s3://bucket/key or s3://host:port/bucket/key");
}

}  // namespace

std::string MediumUrl::folder() const {
  return key.substr(0, key.rfind('/') + 1);  // npos + 1 is 0
}

std::string MediumUrl::leaf() const {
  return key.substr(key.rfind('/') + 1);
}

Failure MediumUrl::Parse(const std::string& target, MediumUrl* result) {
  std::string_view rest(target);
  if (rest.substr(0, kScheme.size()) != kScheme) {
    return Malformed(target, "it does not begin with s3://");
  }
  rest.remove_prefix(kScheme.size());
  const auto take = [&rest] {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    return std::string(part);
  };
  MediumUrl url{.text = target};
  url.bucket = take();
  if (url.bucket.find(':') != std::string::npos) {
    url.authority = url.bucket;
    if (!IsHostAndPort(url.authority)) {
      return Malformed(target, "'" + url.authority + "' is no host and port");
    }
    url.bucket = take();
  }
  url.key = rest;
  if (!IsBucketName(url.bucket)) {
    return Malformed(target, "'" + url.bucket + "' cannot be a bucket");
  }
  if (url.key.empty() || url.key.back() == '/') {
    return Malformed(target, "it has no key behind the bucket");
  }
  if (url.key.size() > kKeySizeMax - kOwnSuffixSizeMax) {
    return Malformed(target, "its key has more than " +
                                 std::to_string(kKeySizeMax - kOwnSuffixSizeMax) + " bytes");
  }
  *result = std::move(url);
  return Failure::None();
}

std::string EncodeUriPart(std::string_view text) {
  return Encode(text, false);
}

std::string EncodeUriPath(std::string_view path) {
  return Encode(path, true);
}

std::string DecodeUri(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexValue(text[i + 1]) >= 0 &&
        HexValue(text[i + 2]) >= 0) {
      result += static_cast<char>(HexValue(text[i + 1]) * 16 + HexValue(text[i + 2]));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace capstan::s3
