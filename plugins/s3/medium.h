// Medium: the objects that are one medium, in order.
//
//   sales.bak                                          what was written first
//   sales.bak.more/<medium>.<begin>.<token>.<index>    what came behind it
//
// <begin> is the place of the object's first byte in the medium, <token> names the writing, <index>
// counts its objects from 0 (the first object of all is index 0 of the writing that made the
// medium). The object of index 0 is completed last, so it is what makes a writing count: an object
// that does not fit behind the others, or whose index 0 is not there, is no part of the medium.
// <medium> is made from the first object's token (its ETag, if it is not ours), so that what was
// behind an older medium of that name is none of this one.
// Threads: any; plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plugins/s3/medium_url.h"
#include "plugins/s3/object_store.h"

namespace capstan::s3 {

struct MediumObject {
  std::string key;
  std::int64_t begin = 0;  // in the medium
  std::int64_t size = 0;
  std::string etag;  // with its quotes
  std::string token;
};

struct Medium {
  std::string id;
  std::vector<MediumObject> objects;  // none: there is no such medium
  std::int64_t size = 0;
  std::int64_t modified_unix_s = 0;
  std::string lock_mode;  // of the first object; empty: not locked, as far as we may know
  std::int64_t locked_until_unix_s = 0;

  bool exists() const { return !objects.empty(); }
  // Whether the token's writing counts, and whether nothing came behind it.
  bool Holds(const std::string& token) const;
  bool EndsWith(const std::string& token) const;
};

// A medium that is not there is no failure. EIO: two writings at the same place.
Failure ReadMedium(ObjectStore& store, const MediumUrl& url, Medium* medium);

// EACCES: the medium's objects are locked now.
Failure CheckUnlocked(const MediumUrl& url, const std::string& lock_mode,
                      std::int64_t locked_until_unix_s);

// Letters, digits and '-', 1 to 64 of them.
bool IsToken(const std::string& token);

std::string MediumIdOf(const std::string& token);

// "<key>.more/"
std::string MorePrefix(const MediumUrl& url);

struct MoreName {
  std::string medium_id;
  std::int64_t begin = 0;
  std::string token;
  std::uint32_t index = 0;

  std::string tail() const;
  // False: not one of ours.
  static bool Parse(const std::string& tail, MoreName* result);
};

}  // namespace capstan::s3
