// DeviceSource: the medium that is in an open device, as the media listings read it. What a tape
// has in hard filemarks appears as soft ones among its bytes; other media of a family are not
// asked for.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/media_control.h"
#include "server/engine/open_set.h"
#include "server/media/family_reader.h"

namespace capstan::engine {

class DeviceSource final : public media::MediumSource {
 public:
  // Takes one buffer of the set's pool for its life. Set and channel must outlive the source.
  static Result<std::unique_ptr<DeviceSource>> Create(OpenSet& set, DeviceChannel& channel);
  ~DeviceSource() override;
  DeviceSource(const DeviceSource&) = delete;
  DeviceSource& operator=(const DeviceSource&) = delete;

  const std::string& device_name() const override { return channel_.target(); }
  std::uint64_t size_bytes() const override { return size_bytes_; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override;
  Result<std::optional<std::uint64_t>> SkipToFilemark(std::uint64_t offset) override;
  bool hard_filemarks() const override { return set_.hard_filemarks(); }
  std::optional<media::TapePlace> PlaceBehindFilemark(std::uint64_t offset) const override;

 private:
  DeviceSource(OpenSet& set, DeviceChannel& channel, TransferBuffer* buffer)
      : set_(set),
        channel_(channel),
        buffer_(buffer),
        media_(set, channel, Direction::kRead, never_fails_) {}
  Status FindSize();
  // Fills the buffer with the medium's bytes from `offset`, a multiple of the block size.
  Status FillFrom(std::uint64_t offset);
  // The device stands behind a hard filemark, which comes next.
  Status NoteFilemark();
  // It is shown as a soft one.
  void HoldFilemark();

  OpenSet& set_;
  DeviceChannel& channel_;
  TransferBuffer* const buffer_;
  const FirstError never_fails_;  // a listing waits for nothing that another thread could spoil
  MediaControl media_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t held_offset_ = 0;  // what the buffer holds
  std::uint32_t held_size_ = 0;
  std::uint64_t next_offset_ = 0;  // of a forward-only medium
  bool at_filemark_ = false;       // a hard filemark comes next
  struct ShownFilemark {
    std::uint64_t offset = 0;  // where it is shown
    media::TapePlace behind;
  };
  std::vector<ShownFilemark> filemarks_;  // all so far
  std::uint64_t filemark_size_ = 0;       // of each, as it is shown
  bool ended_ = false;                    // a forward-only medium has no more
};

}  // namespace capstan::engine
