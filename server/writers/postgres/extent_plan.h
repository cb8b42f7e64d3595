// ExtentPlan: what one extent of a backup consists of, from when it is cut until it has been read.
//
// Planning touches no file, so it is cheap enough to be done one at a time; reading goes straight
// from the files into the caller's memory, in pieces and from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/file_feed.h"
#include "server/writers/postgres/page_verifier.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class ExtentPlan {
 public:
  std::uint32_t length() const {
    return payload_length_ + static_cast<std::uint32_t>(directory_.size());
  }

  // How pages are judged as they go by.
  struct Verification {
    PageVerifier* verifier = nullptr;  // null: not at all
    std::uint32_t file_id = 1;         // of the set
    std::uint32_t relation_segment_blocks = 0;
  };
  // The extent's bytes from `position` on. Bytes that a file has lost meanwhile are zeros.
  // REQUIRES: position + target.size() <= length()
  Status Read(std::uint32_t position, std::span<std::byte> target,
              const Verification& verification) const;

 private:
  friend class ExtentPlanner;

  struct Piece {
    std::shared_ptr<BackupFile> file;
    std::uint64_t offset = 0;  // in the file
    std::uint32_t length = 0;
    std::uint32_t position = 0;  // in the extent
  };

  std::vector<Piece> pieces_;  // in the order of their positions
  std::uint32_t payload_length_ = 0;
  std::vector<std::byte> directory_;
};

class ExtentPlanner {
 public:
  // REQUIRES: length_max >= kBundleLengthMin
  ExtentPlanner(std::uint32_t length_max, std::uint32_t page_bytes)
      : builder_(length_max), page_bytes_(page_bytes) {}

  // Takes what fits from the front of the stretch. True: it is used up, and the next may follow.
  bool Add(FileStretch* stretch);
  bool empty() const { return builder_.empty(); }
  ExtentPlan Finish();

 private:
  // So many files are open for one extent at most.
  static constexpr std::size_t kPiecesMax = 128;

  BundleBuilder builder_;
  const std::uint32_t page_bytes_;
  std::size_t entry_count_ = 0;
  ExtentPlan plan_;
};

}  // namespace capstan::writers
