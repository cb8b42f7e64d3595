#include "server/media/media_map.h"

#include <algorithm>
#include <utility>

#include "server/media/block_cursor.h"
#include "server/media/frame_runs.h"
#include "server/media/medium_error.h"
#include "server/media/medium_lister.h"

namespace capstan::media {
namespace {

constexpr char kUnknownBytes[] = "what stands here is not known";

// Draws a medium with random access whose sets are listed.
class Mapper {
 public:
  Mapper(MediumSource* source, const MediumLabel& label, MediumMap* map)
      : source_(source), label_(label), map_(map) {}

  // `broken`: what ended the listing, if it did not come to its end.
  Status Draw(const Status& broken) {
    CAPSTAN_RETURN_IF_ERROR(DrawHeader());
    for (std::size_t i = 0; i < listing().sets.size(); ++i) {
      const SetListing& set = listing().sets[i];
      Add({.kind = PieceKind::kDamage, .remark = kUnknownBytes}, std::min(set.set_offset, size()));
      if (set.foreign) {
        DrawForeign(i);
      } else if (set.complete || set.continues) {
        CAPSTAN_RETURN_IF_ERROR(DrawSet(i));
      } else if (!broken.ok()) {
        Add({.kind = PieceKind::kDamage, .set = i, .remark = std::string(broken.hint())}, size());
      } else {
        CAPSTAN_RETURN_IF_ERROR(DrawUnfinished(i));
      }
    }
    DrawTail(broken);
    return OkStatus();
  }

 private:
  const MediumListing& listing() const { return map_->listing; }
  std::uint64_t size() const { return listing().size_bytes; }
  std::uint32_t mark_size() const { return label_.form.filemark_size(); }

  // Where what belongs to a set ends.
  std::uint64_t LimitOf(std::size_t i) const {
    const std::vector<SetListing>& sets = listing().sets;
    if (i + 1 < sets.size()) {
      return std::min(sets[i + 1].set_offset, size());
    }
    const bool ends = sets[i].complete && listing().sets_end > sets[i].set_offset;
    return ends ? std::min(listing().sets_end, size()) : size();
  }

  // The next piece, from the end of the one before to `end`; none if there is nothing in between.
  void Add(MapPiece piece, std::uint64_t end) {
    if (end > at_) {
      piece.offset = at_;
      piece.size = end - at_;
      map_->pieces.push_back(std::move(piece));
      at_ = end;
    }
  }

  BlockCursor CursorAt(std::uint64_t offset) {
    BlockCursor cursor(source_);
    cursor.UseGeometry(label_.form.format_logical_block, mark_size());
    cursor.ContinueBehindFilemark(offset);
    return cursor;
  }

  Status AddFilemark(std::uint64_t end, std::optional<std::size_t> set) {
    MapPiece piece{.kind = PieceKind::kFilemark, .set = set};
    BlockCursor cursor = CursorAt(at_);
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> block,
                             NothingIfDamaged(cursor.NextBlock()));
    if (!block || block->header.type != BlockType::kSoftFilemark || cursor.offset() > size()) {
      piece.kind = PieceKind::kDamage;
      piece.remark = "no sound filemark";
    }
    Add(std::move(piece), end);
    return OkStatus();
  }

  Status DrawHeader() {
    const std::uint64_t first_set = listing().sets.empty() ? size() : listing().sets[0].set_offset;
    if (listing().foreign || mark_size() == 0) {
      Add({.kind = PieceKind::kHeader}, listing().sets.empty() ? label_.end : first_set);
      return OkStatus();
    }
    Add({.kind = PieceKind::kHeader}, label_.end);
    return AddFilemark(std::min(label_.end + mark_size(), first_set), {});
  }

  void DrawForeign(std::size_t i) {
    const SetListing& set = listing().sets[i];
    const bool whole = set.complete || set.continues;
    MapPiece piece{.kind = PieceKind::kForeignSet, .set = i};
    if (set.foreign_set && !set.foreign_set->password_protected) {
      piece.payload_bytes = set.foreign_set->facts.backup_size;
      piece.stored_bytes = set.foreign_set->facts.compressed_backup_size;
    }
    if (!whole) {
      piece.kind = PieceKind::kDamage;
      piece.remark = "a set of another program without its end";
    }
    Add(std::move(piece), LimitOf(i));
  }

  // Where the first frame of a set stands, or the filemark of one without; nothing if its head is
  // damaged or cut off.
  Result<std::optional<std::uint64_t>> FindFrames(BlockCursor* cursor) {
    while (true) {
      CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> block,
                               NothingIfDamaged(cursor->NextBlock()));
      if (!block) {
        return std::optional<std::uint64_t>();
      }
      if (block->header.type == BlockType::kFile ||
          block->header.type == BlockType::kSoftFilemark) {
        cursor->ContinueAt(block->offset);
        return std::optional(block->offset);
      }
      CAPSTAN_RETURN_IF_ERROR(SkipStreams(cursor));
    }
  }

  static Status SkipStreams(BlockCursor* cursor) {
    while (true) {
      CAPSTAN_ASSIGN_OR_RETURN(const std::optional<StreamPosition> stream,
                               NothingIfDamaged(cursor->NextStream()));
      if (!stream) {
        return OkStatus();
      }
    }
  }

  // Walks from the first frame to what follows the last one that is there; the number of frames.
  Result<std::uint64_t> WalkFrames(const SetListing& set, BlockCursor* cursor) {
    for (std::uint64_t frames = 0;; ++frames) {
      CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> block,
                               NothingIfDamaged(cursor->NextBlock()));
      if (!block || block->header.type != BlockType::kFile) {
        cursor->ContinueAt(block ? block->offset : cursor->offset());
        return frames;
      }
      if (set.set.compressed()) {
        CAPSTAN_RETURN_IF_ERROR(SkipStreams(cursor));
      } else {
        cursor->ContinueAt(block->offset + set.set.transfer_size);
      }
      if (cursor->offset() > size() || cursor->truncated()) {
        return frames;
      }
    }
  }

  Status DrawUnfinished(std::size_t i) {
    BlockCursor cursor = CursorAt(at_);
    MapPiece piece{.kind = PieceKind::kUnfinishedSet, .set = i, .frames = 0};
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> frames, FindFrames(&cursor));
    if (frames) {
      CAPSTAN_ASSIGN_OR_RETURN(*piece.frames, WalkFrames(listing().sets[i], &cursor));
    }
    Add(std::move(piece), size());
    return OkStatus();
  }

  Status DrawSet(std::size_t i) {
    const SetListing& set = listing().sets[i];
    const std::uint64_t limit = LimitOf(i);
    BlockCursor cursor = CursorAt(at_);
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> first, FindFrames(&cursor));
    std::uint64_t frames_end = set.frames_end;
    if (frames_end == 0 && first) {
      CAPSTAN_RETURN_IF_ERROR(WalkFrames(set, &cursor).status());
      frames_end = cursor.offset();
    }
    if (set.continues || frames_end == 0 || frames_end > limit) {
      Add({.kind = PieceKind::kSetHead, .set = i}, first.value_or(limit));
      Add({.kind = PieceKind::kFrames, .set = i, .remark = "goes on on the next medium"}, limit);
      return OkStatus();
    }

    std::optional<FrameRuns> runs;
    if (!set.continued) {
      CAPSTAN_ASSIGN_OR_RETURN(runs, ReadFrameRuns(*source_, CursorAt(frames_end + mark_size()),
                                                   set, listing().header.family_number));
    }
    const bool fits = runs && runs->size <= frames_end - at_ &&
                      first.value_or(frames_end - runs->size) == frames_end - runs->size;
    const std::uint64_t begin = first.value_or(fits ? frames_end - runs->size : frames_end);
    Add({.kind = first ? PieceKind::kSetHead : PieceKind::kDamage,
         .set = i,
         .remark = first ? "" : "the head of the set"},
        begin);
    AddFrames(i, fits ? std::move(runs->runs) : std::vector<MapPiece>(), frames_end);
    CAPSTAN_RETURN_IF_ERROR(AddFilemark(frames_end + mark_size(), i));
    const bool end_is_sound = fits || set.continued;
    Add({.kind = end_is_sound ? PieceKind::kSetEnd : PieceKind::kDamage,
         .set = i,
         .remark = end_is_sound ? "" : "the index of the frames"},
        limit - mark_size());
    return AddFilemark(limit, i);
  }

  // Without runs: what the end of the set says of all frames.
  void AddFrames(std::size_t i, std::vector<MapPiece> runs, std::uint64_t frames_end) {
    for (MapPiece& run : runs) {
      const std::uint64_t end = at_ + *run.size;
      run.set = i;
      Add(std::move(run), end);
    }
    MapPiece rest{.kind = PieceKind::kFrames, .set = i};
    for (const FamilySummary& family : listing().sets[i].families) {
      if (family.family_number == listing().header.family_number) {
        rest.frames = family.frame_count;
        rest.stored_bytes = family.payload_bytes;
      }
    }
    Add(std::move(rest), frames_end);
  }

  void DrawTail(const Status& broken) {
    if (!broken.ok()) {
      Add({.kind = PieceKind::kDamage, .remark = std::string(broken.hint())}, size());
    } else if (listing().tail == MediumTail::kUnknown) {
      Add({.kind = PieceKind::kDamage, .remark = kUnknownBytes}, size());
    } else {
      const bool is_rest = size() - std::min(at_, size()) < label_.form.format_logical_block;
      Add({.kind = is_rest ? PieceKind::kFree : PieceKind::kHole}, size());
    }
  }

  MediumSource* const source_;
  const MediumLabel label_;
  MediumMap* const map_;
  std::uint64_t at_ = 0;  // the pieces so far end there
};

// Of a medium whose bytes have no places that are known.
void DrawWithoutPlaces(MediumMap* map) {
  map->pieces.push_back({.kind = PieceKind::kHeader});
  for (std::size_t i = 0; i < map->listing.sets.size(); ++i) {
    const SetListing& set = map->listing.sets[i];
    const bool whole = set.complete || set.continues;
    MapPiece piece{.kind = set.foreign ? PieceKind::kForeignSet : PieceKind::kFrames, .set = i};
    if (!whole) {
      piece.kind = set.foreign ? PieceKind::kDamage : PieceKind::kUnfinishedSet;
      piece.remark = set.foreign ? "a set of another program without its end" : "";
    }
    if (set.foreign_set && !set.foreign_set->password_protected) {
      piece.payload_bytes = set.foreign_set->facts.backup_size;
      piece.stored_bytes = set.foreign_set->facts.compressed_backup_size;
    }
    for (const FamilySummary& family : set.families) {
      if (family.family_number == map->listing.header.family_number) {
        piece.frames = family.frame_count;
        piece.stored_bytes = family.payload_bytes;
      }
    }
    map->pieces.push_back(std::move(piece));
  }
}

// The sets in front of the place where the listing of a medium breaks off.
Result<MediumListing> ListUpToDamage(MediumSource& source) {
  MediumLister lister(&source);
  CAPSTAN_RETURN_IF_ERROR(lister.ReadLabel().status());
  if (const Status status = lister.Walk(false); !status.ok() && !IsDamage(status)) {
    return status;
  }
  return lister.TakeListing();
}

}  // namespace

Result<MediumMap> ReadMap(MediumSource& source) {
  MediumMap map;
  Result<MediumListing> listing = ReadListing(source);
  const Status broken = listing.status();
  if (!broken.ok()) {
    if (!IsDamage(broken) || source.size_bytes() == 0) {
      return broken;
    }
    // The label's own damage is an error here as well.
    CAPSTAN_ASSIGN_OR_RETURN(map.listing, ListUpToDamage(source));
  } else {
    map.listing = std::move(listing).value();
  }
  map.listing.size_bytes = source.size_bytes();
  const bool in_container =
      map.listing.header.software_vendor_id == kSqlServerVendorId && map.listing.header.compressed;
  if (source.size_bytes() == 0 || in_container) {
    DrawWithoutPlaces(&map);
    return map;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const MediumLabel label, MediumLister(&source).ReadLabel());
  CAPSTAN_RETURN_IF_ERROR(Mapper(&source, label, &map).Draw(broken));
  return map;
}

}  // namespace capstan::media
