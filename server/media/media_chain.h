// MediaChain: what ties the media of one family together, as a reader meets them one after another.
//
// A medium says which family it belongs to and which number it has (CPMS). If it was full before
// the set ended, it says how far the set had got (CPEM on its EOTM), and the next one repeats that
// (CPCN on its TAPE). The end of a set counts what each medium held (CPMM). The chain keeps what
// these streams say and compares it with what was really seen. It looks at contents alone: that
// their seals are right and that they stand where they may is for the caller to see to.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/media/backup_set.h"
#include "server/media/capstan_layout.h"
#include "server/media/family_writer.h"
#include "server/media/mtf_values.h"
#include "vdi/base/status.h"

namespace capstan::media {

class MediaChain {
 public:
  // What the TAPE block itself says.
  void TakeTape(const MediaHeader& tape) { tape_ = tape; }
  // What the streams of a TAPE or an EOTM say. False if they cannot be understood.
  bool TakeMediaSet(Bytes content, const MediaHeader& tape);
  bool TakeSpan(Bytes content);
  // What the last TAPE or EOTM said of a span no longer matters.
  void ForgetSpan() { span_.reset(); }

  // The TAPE block of the mounted medium is whole. The first medium of all opens the chain, unless
  // it is not ours though it says so, or SQL Server's (3143), or goes on with a set that began
  // earlier (3249). A later one must be the one that follows: `set` and `seen` are what the media
  // before it held. Otherwise 3258 (another media set), 3133 (another family), 3247 (another
  // number) or 3232 (another backup).
  // kLaterSet: reading goes on with a set that begins on this medium, whatever stands before it.
  enum class Entry { kFirst, kLaterSet };
  Status EndTape(const std::string& device_name, const std::optional<BackupSet>& set,
                 const FamilySummary& seen, Entry entry);
  // REQUIRES of everything below: EndTape was OK once.

  // A set begins on this medium, or goes on there if continued().
  void BeginSet();
  // Whether the CPMM in `content` counts what the media really held, the last one up to `seen`.
  bool TakeMediaMap(Bytes content, const FamilySummary& seen);
  // Whether the set had a CPMM if and only if it must.
  bool media_map_complete() const { return media_map_right_ != full_media_.empty(); }
  // How long a CPMM may be here.
  std::size_t media_map_size_max() const;

  // Whether the span that was taken last says what has been seen.
  bool SpanIsRight(const BackupSet& set, const FamilySummary& seen) const;
  // What that span says of the family's frames so far. REQUIRES: continued().
  FamilySummary span_summary() const;
  // The mounted medium ended as a full one does; the next one is mounted. `seen` as above.
  void BeginNextMedium(const FamilySummary& seen);

  // Of the family's first medium that was mounted.
  const MediaHeader& header() const { return *header_; }
  // Whether another program began the family; sets of ours may be among its own.
  bool foreign() const { return foreign_; }
  // Of the mounted medium.
  std::uint16_t sequence_number() const { return sequence_number_; }
  // Whether the mounted medium is the first.
  bool on_first_medium() const { return full_media_.empty(); }
  // A span was taken: in front of the frames, the set began on an earlier medium.
  bool continued() const { return span_.has_value(); }

 private:
  Status CheckNextMedium(const std::string& device_name, const std::optional<BackupSet>& set,
                         const FamilySummary& seen) const;
  MediaMapEntry MountedMedium(const FamilySummary& seen) const;

  std::optional<MediaHeader> header_;
  bool foreign_ = false;
  std::vector<MediaMapEntry> full_media_;
  std::uint16_t sequence_number_ = 1;

  // Of the mounted medium.
  MediaHeader tape_;
  std::optional<MediaHeader> media_set_;
  std::optional<SpanStream> span_;  // as its TAPE or its EOTM says

  // Of the current set.
  FamilySummary before_medium_;  // what was seen on the media before the mounted one
  bool media_map_right_ = false;
};

}  // namespace capstan::media
