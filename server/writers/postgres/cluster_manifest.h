// What a full or differential backup of a cluster says at its end: every file that the restored
// cluster has, with its size, and what was there at first and vanished. A restore takes a file away
// that is not in it, and makes those longer or shorter that have another size.
//
// It travels in the set's log file, as pieces of kind kManifest (bundle.h): the bytes of Encode,
// cut anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vdi/base/status.h"

namespace capstan::writers {

struct ClusterManifest {
  struct File {
    std::uint32_t place = 0;  // 0: the data directory; else index + 1 into the set's tablespaces
    std::uint16_t mode = 0;   // permission bits
    std::string path;         // IsBundlePath
    std::uint64_t size_bytes = 0;
  };
  struct Directory {
    std::uint32_t place = 0;
    std::uint16_t mode = 0;
    std::string path;  // not the places' own
  };
  struct Vanished {
    std::uint32_t place = 0;
    std::string path;
  };

  // Where the set ends: as its lsns().last, and its timeline.
  std::uint64_t stop_lsn = 0;
  std::uint32_t timeline = 0;
  std::vector<Directory> directories;  // parents first
  std::vector<File> files;
  std::vector<Vanished> vanished;  // no piece of these is wanted, even if there is one
};

std::vector<std::byte> EncodeManifest(const ClusterManifest& manifest);
// kDataLoss for what is no manifest.
Result<ClusterManifest> DecodeManifest(std::span<const std::byte> bytes);

}  // namespace capstan::writers
