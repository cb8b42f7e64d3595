// Lists media of SQL Server, plain ones and containers. Where the filemarks lead to the ends of
// every set, a few blocks of each are all that is read; otherwise the medium is walked, by the same
// reader as every other program's. Internal to server/media. Threads: any.
#pragma once

#include <functional>

#include "server/media/block_cursor.h"
#include "server/media/family_reader.h"
#include "server/media/mtf_layout.h"

namespace capstan::media::sqlserver {

// Whether a medium that begins with `start` is a container or has a TAPE block of SQL Server's.
bool BySqlServer(Bytes start);

// `walk` lists any medium in Microsoft Tape Format from one end to the other.
Result<MediumListing> ListMedium(MediumSource& source, Bytes start,
                                 const std::function<Result<MediumListing>(MediumSource&)>& walk);

// For the walk. A stream of the TAPE block that may be SQL Server's: what it says of the media set.
Status AddTapeStream(BlockCursor* cursor, const StreamPosition& stream, MediaHeader* header);
// A stream of the block `block` of another program's set: adds what it says. REQUIRES:
// listing->foreign_set.
Status AddStream(BlockCursor* cursor, const BlockHeader& block, const StreamPosition& stream,
                 SetListing* listing);
// Whether another program's set that has ended has all that it should.
bool IsComplete(const SetListing& listing);

}  // namespace capstan::media::sqlserver
