// Append records: which tokens made a medium grow, kept in its extended attribute
// "user.capstan.appended", the last few of them.
//
// Once an append is complete its note is gone, and recovery knows by this alone that it was
// finished, or that it may still be taken back. Where there are no extended attributes the list is
// always empty.
// Threads: any; no ownership.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plugins/disk/failure.h"

namespace capstan::disk {

struct AppendRecord {
  std::string token;
  std::int64_t before = 0;  // bytes that counted before it, and with it
  std::int64_t after = 0;
};

// The oldest first.
std::vector<AppendRecord> ReadAppendRecords(int medium);

// Fails only where attributes could be kept. Durable once the file is synced.
Failure WriteAppendRecords(int medium, const std::string& path,
                           const std::vector<AppendRecord>& records);

}  // namespace capstan::disk
