// Verifies media of SQL Server as far as they can be verified without being SQL Server: the order,
// place, checksum and padding of every block and stream, the filemarks and what they list, SQL
// Server's own checksums where the set has them, the records of a container, whether page data can
// belong to the database, whether the configurations of a set agree, and whether all families of
// the set are there.
//
// What its format does not protect nobody can find damaged: page and log data of a set without
// CHECKSUM, names that stand in one place only. README.md lists it.
// Memory: a configuration (64 MiB at most) and 256 KiB. Threads: one family each.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "server/media/family_reader.h"

namespace capstan::media::sqlserver {

struct VerifyOptions {
  std::uint16_t position = 1;  // of the set on the medium
  bool check_sums = true;      // those that a set WITH CHECKSUM has
  std::string media_password;
  // Called now and then with the bytes of the device that have been looked at; an error ends the
  // verification.
  std::function<Status(std::uint64_t bytes)> on_progress;
};

// What one family was found to hold of the set. A family is one medium here, as on every disk.
struct FamilyFindings {
  std::string device_name;
  MediaHeader header;
  BackupSet set;
  ForeignSet facts;             // of the set's end
  std::uint64_t pages = 0;      // of data files
  std::uint64_t data_size = 0;  // of the medium in front of the set's final configuration
  std::uint32_t mark_size = 0;  // of a soft filemark; 0 if there are none
};

// Reads forward only, from the first byte to the end of the set. Errors: 3241 and 65004 (damage,
// with device and byte), 3242, 3243, 3254, 3208, 3256 (cut off), 3239 (a container that is not
// known), 3143 (another program's set), 3279 (password), 3287 (no such set).
Result<FamilyFindings> VerifyFamily(MediumSource& source, const VerifyOptions& options);

// Whether the families, in any order, make up one whole set: 3132 (families missing), 3227 (one is
// there twice), 3258 (of another set), 3189 (sizes do not add up).
Status VerifyTogether(const std::vector<FamilyFindings>& families);

}  // namespace capstan::media::sqlserver
