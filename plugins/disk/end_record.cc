#include "plugins/disk/end_record.h"

#include <cerrno>
#include <cinttypes>
#include <cstdio>

#include <sys/stat.h>
#include <unistd.h>

#include "plugins/disk/medium_path.h"

namespace capstan::disk {
namespace {

constexpr std::int64_t kBlockSize = 4096;

std::string Encode(const std::string& token, const EndRecord& record) {
  char text[256];
  std::snprintf(text, sizeof(text), "capstan-end 1 %s %" PRId64 " %" PRId64, token.c_str(),
                record.end, record.place);
  std::string block = text;
  std::snprintf(text, sizeof(text), " %016" PRIx64 "\n", Hash(block));
  block += text;
  block.resize(kBlockSize);
  return block;
}

bool Decode(const std::string& block, const std::string& token, EndRecord* record) {
  char name[65] = "";
  const std::string text = block.substr(0, block.find('\n'));
  return std::sscanf(text.c_str(), "capstan-end 1 %64s %" SCNd64 " %" SCNd64, name, &record->end,
                     &record->place) == 3 &&
         record->end >= 0 && record->end <= record->place && block == Encode(token, *record);
}

}  // namespace

std::int64_t PlaceOfEndRecord(std::int64_t size) {
  return (size + kBlockSize - 1) / kBlockSize * kBlockSize;
}

Failure WriteEndRecord(int file, const std::string& path, const std::string& token,
                       const EndRecord& record) {
  const std::string block = Encode(token, record);
  const ssize_t written = ::pwrite(file, block.data(), block.size(), record.place);
  if (written == static_cast<ssize_t>(block.size())) {
    return Failure::None();
  }
  // A part of it is as good as none.
  return Failure::Unable(written < 0 ? errno : ENOSPC, "note the end of", path);
}

Failure ReadEndRecord(int file, const std::string& path, const std::string& token,
                      EndRecord* record, bool* found) {
  struct stat status {};
  *found = false;
  if (::fstat(file, &status) != 0) {
    return Failure::Unable(errno, "look at", path);
  }
  const std::int64_t place = status.st_size - kBlockSize;
  if (place < 0 || place % kBlockSize != 0) {
    return Failure::None();
  }
  std::string block(kBlockSize, '\0');
  const ssize_t got = ::pread(file, block.data(), block.size(), place);
  if (got < 0) {
    return Failure::Unable(errno, "read the end of", path);
  }
  *found = got == kBlockSize && Decode(block, token, record) && record->place == place;
  return Failure::None();
}

}  // namespace capstan::disk
