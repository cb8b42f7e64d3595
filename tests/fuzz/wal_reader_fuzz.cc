// WalReader on segments that anybody could have written: it must end, and never go beyond the
// limit that it was given.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include "server/writers/postgres/timeline_history.h"
#include "server/writers/postgres/wal_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace capstan::writers;
  constexpr std::uint32_t kSegmentSize = kWalSegmentSizeMin;
  static const std::string directory = [] {
    std::string path = "/tmp/capstan-wal-fuzz-XXXXXX";
    return ::mkdtemp(path.data()) == nullptr ? std::abort(), path : path;
  }();
  // A page or less is also a history.
  const auto* const text = reinterpret_cast<const char*>(data);
  static_cast<void>(TimelineHistory::Parse(7, {text, size}).ok());
  static_cast<void>(ParseWalSegmentName({text, size}, kSegmentSize));

  const std::string path = directory + "/" + WalSegmentName(1, {kSegmentSize}, kSegmentSize);
  std::ofstream(path, std::ios::binary).write(text, static_cast<std::streamsize>(size));
  for (const std::uint64_t start : {std::uint64_t{kSegmentSize}, kSegmentSize + std::uint64_t{8}}) {
    const Lsn limit{kSegmentSize + size};
    auto reader = WalReader::Open({.directories = {directory},
                                   .segment_size = kSegmentSize,
                                   .start = {start},
                                   .limit = limit});
    if (!reader.ok()) {
      std::abort();
    }
    std::size_t records = 0;
    for (auto record = reader->Next(); record.ok() && record->has_value();
         record = reader->Next()) {
      // A record has a header at least.
      if (++records > size / kWalRecordHeaderSize + 1) {
        std::abort();
      }
    }
    if (reader->end() > limit && reader->end().value != start) {
      std::abort();
    }
  }
  return 0;
}
