// Settling: ending what others began, from what their notes say.
//
// Threads: any. All of it is idempotent.
#pragma once

#include <string>
#include <vector>

#include "plugins/s3/medium.h"
#include "plugins/s3/object_store.h"
#include "plugins/s3/write_note.h"

namespace capstan::s3 {

// Writings of this process that have not ended. A note of this process that is not among them was
// left for recovery.
void HoldNote(const std::string& bucket, const std::string& note_key);
void ReleaseNote(const std::string& bucket, const std::string& note_key);

struct FoundNote {
  std::string key;  // of the note
  WriteNote note;
  bool held = false;  // somebody is at it, as far as one can tell
};

// Those of the medium, whoever wrote them.
Failure FindNotes(ObjectStore& store, const MediumUrl& url, std::vector<FoundNote>* notes);

// The same, but for the one of `own_token`, and those of all media of the folder that nobody has
// been at for a long time: Settings::abandoned_after_h.
Failure FindOtherNotes(ObjectStore& store, const MediumUrl& url, const std::string& own_token,
                       std::vector<FoundNote>* notes, std::vector<FoundNote>* abandoned);

// ENOENT: there is none.
Failure ReadNote(ObjectStore& store, const std::string& note_key, WriteNote* note);

// Of all writings to the medium, those uploads that are this note's: their ids are in it, or their
// keys have its token, or (of a note that was left before it had an id) they can be nobody else's.
// EBUSY, transient: somebody else has just begun one that cannot be told from it.
Failure FindUploads(ObjectStore& store, const MediumUrl& url, const WriteNote& note,
                    std::vector<ListedUpload>* uploads);

// Aborts its uploads and removes the note.
Failure DropWriting(ObjectStore& store, const MediumUrl& url, const WriteNote& note);

// Removes what the token has made of the medium, unless the medium was continued since.
Failure TakeBack(ObjectStore& store, const MediumUrl& url, const std::string& token);

// Removes those of `more`, a listing of MorePrefix, that are of an older medium of this name:
// nobody can read them any more.
Failure RemoveUnreachable(ObjectStore& store, const MediumUrl& url, const std::string& medium_id,
                          const std::vector<ListedObject>& more);

}  // namespace capstan::s3
