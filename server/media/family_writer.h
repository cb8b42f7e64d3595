// FamilyWriter: composes a backup set on one media family, from a new medium on or behind the sets
// that one holds. It makes bytes and does no I/O.
//
//   preamble   TAPE filemark SSET VOLB DIRB DIRB          multiple of 4096 bytes
//   frames     FILE frame header, payload, padding        each exactly one transfer size
//   trailer    filemark ESET index set-map ESET filemark  multiple of 4096 bytes
//
// On a disk filemarks are blocks among the bytes; on a tape they are something that the device
// writes, and MediumPart says where. A medium may be full before the family is complete:
//
//   medium 1   preamble frames...                         EndMedium: filemark EOTM filemark
//   medium 2   NextMedium; preamble frames... trailer
//
// Behind other sets the preamble begins with SSET. Nothing in front of it is written again.
//
// The caller reads the payload straight into a transfer buffer at geometry().payload_offset, then
// has SealFrame put the frame around it. Format: server/media/format.md. Threads: one at a time per
// FamilyWriter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/media/authenticator.h"
#include "server/media/backup_set.h"
#include "vdi/base/status.h"

namespace capstan::media {

// Which part of the database a frame carries.
struct FrameExtent {
  std::uint32_t file_index = 0;   // into BackupSet::files
  std::uint64_t file_offset = 0;  // bytes
  std::uint32_t length = 0;       // payload bytes, 1..payload_capacity; 0: a void frame
  std::uint64_t sequence = 0;     // unique in the set over all families, from 0
  std::uint32_t crc32c = 0;       // of the payload as it is stored, see Crc32c()
  // Bytes of the payload as it is stored, with all that PayloadForm puts around it; 0: as it is in
  // the database.
  std::uint32_t stored_length = 0;

  std::uint32_t stored_size() const { return stored_length != 0 ? stored_length : length; }
  // It keeps its place on the medium, and the bytes there mean nothing any more: what a backup that
  // was gone on with (WITH RESTART) has read anew. Readers pass it over.
  bool is_void() const { return length == 0; }
  // Bytes of it that count as the family's payload.
  std::uint32_t payload_size() const { return is_void() ? 0 : stored_size(); }
  // What a reader tells of this frame once MakeVoid has gone over it.
  FrameExtent AsVoid() const {
    FrameExtent extent = *this;
    extent.stored_length = stored_size();
    extent.length = 0;
    return extent;
  }
};

struct FrameGeometry {
  std::uint32_t payload_offset = 0;  // in the transfer buffer; of what is stored
  // The largest multiple of 4096 that fits with all that PayloadForm may put around it.
  std::uint32_t payload_capacity = 0;
  std::uint32_t transfer_size = 0;
  // Of a packed set: what frames' sizes are multiples of, bytes. 0: they have the transfer size.
  std::uint32_t packing = 0;

  // Of a frame that stores so many bytes.
  std::uint32_t FrameSize(std::uint32_t stored_size) const;
};

// What a family knows when its last frame is sealed; every family's goes into every trailer, so
// that one family can say what the others must hold.
struct FamilySummary {
  std::uint16_t family_number = 1;
  std::uint64_t frame_count = 0;    // void ones as well
  std::uint64_t payload_bytes = 0;  // without those of void frames
  std::uint32_t digest = 0;  // CRC32C over the frame index, that is over every frame's sequence,
                             // file, offset, length and payload CRC32C in the order of the medium

  friend bool operator==(const FamilySummary&, const FamilySummary&) = default;
};

// CRC32C (Castagnoli) of `data`, continuing from `seed` (0 at the start).
std::uint32_t Crc32c(std::uint32_t seed, std::span<const std::byte> data);

// How a medium is laid out. Ours are all alike but for what the device asks for; those of other
// writers keep theirs when a set is appended to them.
struct MediumForm {
  // Filemarks are written by the device and stand between the bytes, not among them.
  bool hard_filemarks = false;
  // Of the device: what its positions count, in bytes. Used with hard filemarks alone.
  std::uint32_t block_size = kPhysicalBlock;
  // What the TAPE block says a soft filemark takes, in units of 512 bytes; 0 = filemarks are hard.
  std::uint16_t soft_filemark_units = kPhysicalBlock / 512;
  std::uint16_t format_logical_block = kFormatLogicalBlock;  // or 512
  // With soft filemarks: what MTF's physical block addresses count, in bytes.
  std::uint32_t address_unit = kPhysicalBlock;

  std::uint32_t filemark_size() const { return hard_filemarks ? 0 : soft_filemark_units * 512U; }

  friend bool operator==(const MediumForm&, const MediumForm&) = default;
};

// The soft filemarks of a medium, as the next one will list them.
struct Filemarks {
  std::uint32_t count = 0;  // all of them
  // Where the last ones stand, in address units, ascending: as many as a filemark can list.
  std::vector<std::uint32_t> places;

  friend bool operator==(const Filemarks&, const Filemarks&) = default;
};

// MTF's set map of a medium, taken apart: per set its entry and those of its volumes.
using SetMap = std::vector<std::vector<std::byte>>;

// A place behind a filemark of a medium with hard ones.
struct TapePlace {
  std::uint32_t filemarks = 0;  // in front of it
  // The device's own address of it, if it tells one.
  std::optional<std::uint64_t> block = std::nullopt;

  friend bool operator==(const TapePlace&, const TapePlace&) = default;
};

// Where another set goes (ReadListing finds it).
struct AppendPoint {
  std::uint64_t offset = 0;    // behind the last complete set's filemark; 0 with hard ones
  std::uint16_t position = 1;  // that the set will have
  MediumForm form;
  Filemarks filemarks;            // the soft ones
  std::optional<SetMap> set_map;  // nothing: the medium has none, and the set gets none
  TapePlace place = {};           // with hard filemarks

  friend bool operator==(const AppendPoint&, const AppendPoint&) = default;
};

struct FamilyOptions {
  MediaHeader header;
  BackupSet set;
  MediumForm form;  // of a new medium
  // The set goes there, and its position must be the one that this says; nothing: a new medium.
  std::optional<AppendPoint> append;
  // Of an encrypted set, and of this family alone. Must outlive the FamilyWriter.
  Authenticator* authenticator = nullptr;
  // Of a set that goes on where an interrupted backup of it ended, on one new medium: the bytes in
  // front of its frames, which the new Preamble will take as well. 0: a set from its beginning.
  std::uint64_t preamble_size = 0;
  // How often a backup with this set's key was gone on with, or begun anew, before. What proves the
  // ends of an encrypted set differs from one time to the next, and the key does not.
  std::uint32_t restarts = 0;
};

// Hands out a part of a medium piece by piece, as large as the caller likes:
//
//   while not done: if TakeFilemark() write a filemark, otherwise Fill and write what it gave.
class MediumPart {
 public:
  virtual ~MediumPart() = default;
  // Of all its bytes; hard filemarks are none.
  virtual std::uint64_t size_bytes() const = 0;
  // Fills up to target.size() bytes (a multiple of the physical block); returns how many: 0 in
  // front of a hard filemark and at the end.
  virtual std::size_t Fill(std::span<std::byte> target) = 0;
  // True if a hard filemark stands here; the part is then behind it.
  virtual bool TakeFilemark() { return false; }
  // After TakeFilemark: the device's position there, for MTF's physical block addresses. Without
  // it they are counted from the beginning of the medium.
  virtual void SetPosition(std::uint64_t /*block*/) {}
};

class FamilyWriter {
 public:
  // Error 3244 if the names do not fit a descriptor block, 3250 for a transfer size that is not a
  // multiple of 4096 from 65536 to 16773120, kInvalidArgument for a set whose codec or cipher is
  // not known or whose authenticator is missing, kOutOfRange if what stands in front of the frames
  // needs more than preamble_size, or so much less that padding cannot fill it up (16 MiB);
  // kInvalidArgument for a preamble_size that is not of whole physical blocks, together with
  // `append` or hard filemarks, or of an encrypted set without restarts.
  static Result<std::unique_ptr<FamilyWriter>> Create(FamilyOptions options);
  // The first set of a new medium.
  static Result<std::unique_ptr<FamilyWriter>> Create(const MediaHeader& header,
                                                      const BackupSet& set,
                                                      const MediumForm& form = {});
  virtual ~FamilyWriter() = default;

  // What stands in front of the frames of this medium. The FamilyWriter must outlive the part.
  virtual std::unique_ptr<MediumPart> Preamble() = 0;
  // Byte offset at which it begins: 0, or where the set is appended.
  virtual std::uint64_t preamble_offset() const = 0;
  // Likewise on a medium with hard filemarks: nothing at its beginning.
  virtual std::optional<TapePlace> preamble_place() const = 0;
  virtual FrameGeometry geometry() const = 0;

  // Puts header and padding around the payload at buffer[payload_offset, +extent.stored_size()),
  // gives the frame the next place of this family, and returns that place (byte offset in the
  // medium). The whole buffer is then ready to be written there. REQUIRES: buffer.size() is
  // geometry().FrameSize(extent.stored_size()); 1 <= extent.length <= payload_capacity;
  // extent.file_index names a file of the set. Allocates once in some thousand frames, for the
  // index (24 or 32 bytes per frame).
  virtual std::uint64_t SealFrame(std::span<std::byte> buffer, const FrameExtent& extent) = 0;

  // Before the first SealFrame, of a set with a preamble_size: the next place of this family has
  // that frame already, as FamilyReader gave it, or void since (FrameExtent::AsVoid). REQUIRES:
  // the set has the files, of the same names, that it had then, and so frames of the same sizes.
  virtual void AdoptFrame(const FrameExtent& extent) = 0;

  // Of the family, over all its media.
  virtual FamilySummary summary() const = 0;
  // Frames on this medium.
  virtual std::uint64_t frames_on_medium() const = 0;
  // Of this medium.
  virtual const MediaHeader& header() const = 0;
  // Byte offset at which the trailer begins, on this medium.
  virtual std::uint64_t trailer_offset() const = 0;

  // After the last frame. `final_set` has the finish date and the sizes; `families` is everybody's
  // summary, this family's own among them. kOutOfRange beyond 2^32 address units (16 TiB on our
  // own media), which is as far as MTF's filemark entries reach. The FamilyWriter must outlive the
  // part.
  virtual Result<std::unique_ptr<MediumPart>> Trailer(const BackupSet& final_set,
                                                      std::span<const FamilySummary> families) = 0;

  // This medium is full: what ends it, behind the preamble, a frame, or whatever of the trailer has
  // been taken. A trailer that was begun counts for nothing then. The part's size is the same
  // wherever it comes, or less.
  virtual std::unique_ptr<MediumPart> EndMedium() = 0;
  // Goes over to the family's next medium, which begins with its Preamble(). `only_end_follows`:
  // there are no more frames.
  virtual Status NextMedium(bool only_end_follows) = 0;
};

// Makes a frame void: `head`, its first kPhysicalBlock bytes or more, is then to be written where
// they came from. REQUIRES: a FamilyReader has handed out the frame.
void MakeVoid(std::span<std::byte> head);

}  // namespace capstan::media
