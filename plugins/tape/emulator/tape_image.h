// TapeImage: the recording of one cartridge, a SIMH .tap file of the standard format. A tape as a
// list of blocks and filemarks: reads any of them, writes behind any of them.
//
// Blocks go from the caller's memory to the page cache in one call, and on to the disk while the
// next ones come, so that Sync has little left to do. What was not synced may be lost with the
// machine; its rest is recognised as torn when the image is opened again.
//
// Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "plugins/tape/emulator/block_index.h"
#include "plugins/tape/emulator/library_files.h"

namespace capstan::tape {

enum class ImageAccess { kRead, kWrite };

class TapeImage {
 public:
  // `recorded_bytes` were durable when the image was last closed: if it ends earlier now, its last
  // object is kDamaged and nothing can be written behind it.
  static Failure Open(const std::string& path, ImageAccess access, std::uint64_t recorded_bytes,
                      std::unique_ptr<TapeImage>* image);

  const BlockIndex& index() const { return index_; }
  bool was_torn() const { return was_torn_; }

  // Object number `object`, at most index().count(); what was there and behind it is gone.
  Failure WriteBlock(std::uint64_t object, std::span<const std::byte> block);
  Failure WriteFilemarks(std::uint64_t object, std::uint32_t count);
  // Everything that was written is on the disk.
  Failure Sync();

  // All of block `object` into the front of `buffer`. REQUIRES: a kBlock that fits.
  Failure ReadBlock(std::uint64_t object, std::span<std::byte> buffer);

 private:
  TapeImage(std::string path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}

  Failure Prepare(std::uint64_t object);
  Failure Append(const TapeObject& object, std::span<const std::span<const std::byte>> parts);
  Failure WriteBehind();
  void ReadAhead(std::uint64_t end);

  const std::string path_;
  Descriptor file_;
  BlockIndex index_;
  std::uint64_t file_size_ = 0;
  bool was_torn_ = false;
  bool damaged_end_ = false;
  bool synced_ = true;
  std::uint64_t begun_end_ = 0;     // in front of it, writing to the disk was begun ...
  std::uint64_t finished_end_ = 0;  // ... and waited for
  std::uint64_t ahead_end_ = 0;     // read ahead was asked for in front of it
};

}  // namespace capstan::tape
