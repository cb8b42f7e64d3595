// FamilyReader: takes one media family apart as its bytes arrive in order, from a disk, a tape or a
// pipe.
//
// The medium is untrusted input: every length is checked against what is left before it is used,
// and no amount of damage makes the reader allocate more than a constant. Errors are SQL Server's:
// 3241 (malformed; the hint names device, byte and piece), 3242 (no MTF), 3243 (other MTF version),
// 3239 (a codec or version of ours that is not known), 65013 (SQL Server's medium), 3143
// (another program's medium or set), 3208/3256 (ends too early), 3254 (empty). Of a family on
// several media: 3249 (begins elsewhere), 3258, 3133, 3247 and 3232 (not the medium that follows).
// Threads: one at a time.
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
#include "server/media/family_writer.h"
#include "server/media/set_facts.h"
#include "vdi/base/status.h"

namespace capstan::media {

// One frame, still in the buffer that it arrived in.
struct FrameView {
  FrameExtent extent;                  // as the frame header says; checked against the file list
  std::span<const std::byte> payload;  // as it is stored; valid until Consume returns
  std::uint64_t medium_offset = 0;     // of the frame's first byte
  std::span<const std::byte> bytes;    // all of it, likewise
};

// 65004 (damage on device at byte n) unless the payload's CRC32C is what the header says.
Status VerifyFrame(const FrameView& frame, std::string_view device_name);

// A frame as the index of its family knows it.
struct LostFrame {
  FrameExtent extent;
  std::uint64_t number = 0;         // in the order of the family, from 0
  std::uint64_t medium_offset = 0;  // of a family on one medium
  std::uint32_t size = 0;           // of the frame on the medium
};

// What the end of a set says.
struct SetTrailer {
  BackupSet set;  // final values
  std::vector<FamilySummary> families;
  std::uint64_t end_offset = 0;  // of the end of the set, on the medium that it is on
  // Of a reader that tolerates damage: the end is damaged or missing. Then `set` may be as at the
  // beginning, `families` empty, and which frames are lost is not known.
  bool damaged = false;
  // Likewise, of an end that is whole: the frames of the index that were not handed out, without
  // void ones, of which nothing is lost.
  std::vector<LostFrame> lost_frames;
};

// A stretch of a medium that could not be used.
struct MediumDamage {
  std::uint64_t offset = 0;  // from the beginning of the medium
  std::uint64_t size = 0;    // bytes; 0: up to its end
  std::string text;          // a sentence with device, byte and piece (65004)
};

class FamilyVisitor {
 public:
  virtual ~FamilyVisitor() = default;
  virtual Status OnMediaHeader(const MediaHeader& header) = 0;
  virtual Status OnSetBegin(const BackupSet& set) = 0;
  // Behind OnSetBegin, of an encrypted set: proves what the family says, which is 65004 where it
  // fails. It must live until OnSetEnd. Null: checksums are all that is looked at.
  virtual Authenticator* authenticator() { return nullptr; }
  virtual Status OnFrame(const FrameView& frame) = 0;
  // One that means nothing (FrameExtent::is_void); only who goes on with the set wants to know.
  virtual Status OnVoidFrame(const FrameView& /*frame*/) { return OkStatus(); }
  // `seen` is what this family really held; the reader has already checked it against the index.
  // Where frames were lost it is what the family says that it held.
  virtual Status OnSetEnd(const SetTrailer& trailer, const FamilySummary& seen) = 0;
  // Of a reader that tolerates damage: before the frame, or the end of the set, that follows it.
  virtual Status OnDamage(const MediumDamage& /*damage*/) { return OkStatus(); }
};

// Whether the device can be given another medium.
enum class Media { kOne, kSeveral };

struct ReaderOptions {
  Media media = Media::kOne;
  // A bad frame does not end the reading, nor does anything that is wrong with another set than the
  // wanted one or with the end of the set. Without what stands in front of the frames nothing can
  // be read: damage there is an error still.
  bool tolerate_damage = false;
  // Where the wanted set's SSET stands, if that is known (ReadListing) and the device can go there:
  // the sets before it are then not read. 0: they are.
  std::uint64_t set_offset = 0;
  // The same with hard filemarks: where it stands on the first medium that is read, behind the
  // filemark that follows TAPE. The sets before it may have begun on earlier media then.
  std::optional<TapePlace> set_place = std::nullopt;
};

class FamilyReader {
 public:
  // `device_name` is for messages. Only the set at `position` (from 1) is reported; others are
  // walked.
  static std::unique_ptr<FamilyReader> Create(std::string device_name, std::uint16_t position,
                                              FamilyVisitor* visitor, ReaderOptions options = {});
  virtual ~FamilyReader() = default;

  // The next bytes of the medium. A frame that lies within one chunk is handed out in place; one
  // that straddles two is put together in a private buffer. Chunks of the sizes that next_read_size
  // asks for therefore never copy. After an error, every further call returns that error; an error
  // of the visitor counts as one.
  virtual Status Consume(std::span<const std::byte> chunk) = 0;

  // How many bytes should be asked for next, so that frames arrive in place: the rest of the
  // preamble at first, then one transfer size each. Never 0 before done(); a multiple of 4096; at
  // most `transfer_size_max`.
  virtual std::uint32_t next_read_size(std::uint32_t transfer_size_max) const = 0;

  // Not 0, once: the next bytes must be those of the medium from this offset on. Only with
  // ReaderOptions::set_offset, and never while may_read_ahead().
  virtual std::uint64_t TakeJump() = 0;

  // Something, once: the next bytes must be those from this place on. Only behind OnFilemark, and
  // with ReaderOptions::set_place.
  virtual std::optional<TapePlace> TakePlace() = 0;

  // Whether more reads may be under way than the next one: their sizes will be as that one's. Not
  // in front of the frames of a medium, where they follow from what is found.
  virtual bool may_read_ahead() const = 0;

  // True once the wanted set has been read to its end; what follows need not be read.
  virtual bool done() const = 0;

  // The device has met a hard filemark behind the bytes that were consumed. Whether a medium has
  // those or soft ones shows behind its TAPE block.
  virtual Status OnFilemark() = 0;

  // The medium ended here. OK if done(), or if next_medium() is not 0; otherwise 3254, 3208, 3256
  // or 3287.
  virtual Status EndMedium() = 0;
  // Not 0: this medium has ended as a full one does, and the set goes on on the family's medium of
  // this sequence number. What this one may still hold is of no interest.
  virtual std::uint16_t next_medium() const = 0;
  // That medium is mounted: its bytes follow, from its beginning. REQUIRES: next_medium() != 0.
  virtual void BeginNextMedium() = 0;

  // Random access. Where the reader stands between two units, the next bytes may be from elsewhere:
  // Whether the next byte is that of a frame of the wanted set, or of what ends the frames.
  virtual bool at_frame() const = 0;
  // REQUIRES of both: at_frame(). Frames that are passed over count as lost.
  // From `offset`, where the frame of this number begins; its number is not below that of the next.
  virtual Status JumpToFrame(std::uint64_t number, std::uint64_t offset) = 0;
  // From `offset`, where what ends the frames begins.
  virtual Status JumpToEnd(std::uint64_t offset) = 0;

  // Nothing follows any more. OK only if done(); otherwise as EndMedium.
  virtual Status Finish() = 0;
};

// A soft filemark as any medium could have it: what a MediumSource shows where a hard one stands.
std::vector<std::byte> SoftFilemark();

// Random access to a medium, for listing it without reading it all.
class MediumSource {
 public:
  virtual ~MediumSource() = default;
  virtual const std::string& device_name() const = 0;
  // Bytes, or 0 if the medium can only be read forward.
  virtual std::uint64_t size_bytes() const = 0;
  // Fills all of `target` from `offset` unless the medium ends first; returns how much it filled.
  // Offsets never decrease on a forward-only medium.
  virtual Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) = 0;
  // Goes to the next filemark behind `offset` without reading what is in between, if the medium is
  // one where that saves anything. The offset at which it then stands; what was left out has none.
  virtual Result<std::optional<std::uint64_t>> SkipToFilemark(std::uint64_t /*offset*/) {
    return std::optional<std::uint64_t>();
  }
  // Whether it has hard filemarks, each of which appears as a soft one among its bytes.
  virtual bool hard_filemarks() const { return false; }
  // Of those: the place behind the one whose last byte is in front of `offset`, if there is one.
  virtual std::optional<TapePlace> PlaceBehindFilemark(std::uint64_t /*offset*/) const {
    return std::nullopt;
  }
};

struct SetListing {
  BackupSet set;
  bool complete = true;          // it has its end-of-set block
  bool continued = false;        // it began on an earlier medium of the family
  bool continues = false;        // it goes on on the next medium, where its end is
  bool foreign = false;          // not written by Capstan: only the SSET's fields are there
  std::uint64_t set_offset = 0;  // of its SSET
  std::uint64_t frames_end = 0;  // of the filemark behind its frames; 0: the medium was walked
  std::optional<TapePlace> place = std::nullopt;  // of its SSET, with hard filemarks
  std::vector<FamilySummary> families;            // empty if incomplete
  std::optional<ForeignSet> foreign_set;          // of a foreign one: all that is known of it
};

// What follows the last complete set of a medium.
enum class MediumTail {
  kNothing,
  kUnfinishedSet,  // a set of ours without its end, or room for one: the next may go over it
  kUnknown,        // anything else: nothing may be appended (3266)
};

struct MediumListing {
  MediaHeader header;
  std::vector<SetListing> sets;
  bool foreign = false;          // the medium was begun by another program
  std::uint64_t size_bytes = 0;  // 0: the medium can only be read forward
  std::uint64_t sets_end = 0;    // behind the last complete set; 0: not known
  MediumTail tail = MediumTail::kNothing;
  // Where the next set goes. Nothing unless that is known: the medium can only be read forward, its
  // tail is not known, it is full, or it is laid out as we cannot go on with.
  std::optional<AppendPoint> append;
  // With hard filemarks, where what is written cannot be taken back:
  // The set at the end that was not written to its end; it is not among the sets.
  std::optional<Guid> unfinished_set = std::nullopt;
  // Where a set goes that takes the place of the last one, if that begins on this medium.
  std::optional<AppendPoint> over_last = std::nullopt;
};

Result<MediaHeader> ReadLabel(MediumSource& source);
// Header and sets: by the filemarks from the end where the medium allows it, otherwise walking.
// Frames are not read. A medium that was cut off while a set was written lists that set as
// incomplete.
Result<MediumListing> ReadListing(MediumSource& source);

}  // namespace capstan::media
