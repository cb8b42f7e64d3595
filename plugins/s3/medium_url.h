// MediumUrl: what a statement names, taken apart.
//
//   s3://bucket/key                  the endpoint comes from the configuration
//   s3://host:port/bucket/key        the endpoint is in the name; the port tells it from a bucket
//
// Keys are bytes: nothing in them is decoded, "//" and "/../" mean themselves.
// Threads: any; plain data.
#pragma once

#include <string>
#include <string_view>

#include "plugins/s3/failure.h"

namespace capstan::s3 {

struct MediumUrl {
  std::string text;       // as the statement has it
  std::string authority;  // "host:port", empty if the configuration knows the endpoint
  std::string bucket;
  std::string key;

  // The key up to and with its last '/', and what is behind that.
  std::string folder() const;
  std::string leaf() const;

  static Failure Parse(const std::string& target, MediumUrl* result);
};

// Percent-encodes all but A-Z a-z 0-9 - . _ ~, with upper-case digits, as signatures want it.
std::string EncodeUriPart(std::string_view text);
// The same, but '/' stays.
std::string EncodeUriPath(std::string_view path);
// Undoes both. A '%' without two digits stays as it is.
std::string DecodeUri(std::string_view text);

}  // namespace capstan::s3
