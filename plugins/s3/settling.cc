#include "plugins/s3/settling.h"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace capstan::s3 {
namespace {

constexpr std::int64_t kHour = 3'600;  // seconds
// An upload may seem this much older than the note before it, where a server has several clocks.
constexpr std::int64_t kClockSlack = 60;  // seconds

// What this process is at. Function-local, as libraries have no order of initialisation.
struct Registry {
  std::mutex mutex;
  std::set<std::string> held;  // guarded by mutex; "bucket/key"
};

Registry& TheRegistry() {
  static Registry registry;
  return registry;
}

bool IsHeldHere(const std::string& bucket, const std::string& note_key) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  return registry.held.contains(bucket + "/" + note_key);
}

}  // namespace

void HoldNote(const std::string& bucket, const std::string& note_key) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  registry.held.insert(bucket + "/" + note_key);
}

void ReleaseNote(const std::string& bucket, const std::string& note_key) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  registry.held.erase(bucket + "/" + note_key);
}

Failure ReadNote(ObjectStore& store, const std::string& note_key, WriteNote* note) {
  std::string text;
  std::int64_t modified_unix_s = 0;
  if (Failure failure = store.Get(note_key, &text, &modified_unix_s); failure.failed()) {
    return failure;
  }
  if (!DecodeNote(text, note)) {
    return Failure::Of(EIO, "'" + note_key + "' is no note of ours");
  }
  note->put_unix_s = modified_unix_s;
  return Failure::None();
}

namespace {

// Reads one that was listed. *found stays as it is if the note is gone.
Failure Look(ObjectStore& store, const MediumUrl& url, const std::string& key, bool old,
             std::optional<FoundNote>* found) {
  FoundNote one{.key = key};
  Failure failure = ReadNote(store, key, &one.note);
  if (failure.failed()) {
    return failure.os_error == ENOENT ? Failure::None() : failure;
  }
  const OwnerState owner = StateOf(one.note.owner);
  one.held = owner == OwnerState::kAlive || (owner == OwnerState::kElsewhere && !old) ||
             IsHeldHere(url.bucket, key);
  *found = std::move(one);
  return Failure::None();
}

}  // namespace

Failure FindOtherNotes(ObjectStore& store, const MediumUrl& url, const std::string& own_token,
                       std::vector<FoundNote>* notes, std::vector<FoundNote>* abandoned) {
  std::vector<ListedObject> listed;
  std::int64_t now = 0;
  if (Failure failure = store.List(NoteFolder(url), &listed, &now); failure.failed()) {
    return failure;
  }
  for (const ListedObject& object : listed) {
    const std::string key = NoteFolder(url) + object.tail;
    const bool of_medium = key.compare(0, NotePrefix(url).size(), NotePrefix(url)) == 0;
    const bool old = now - object.modified_unix_s >= store.settings().abandoned_after_h * kHour;
    if (key == NoteKey(url, own_token) || (!of_medium && !old)) {
      continue;
    }
    std::optional<FoundNote> found;
    Failure failure = Look(store, url, key, old, &found);
    if (failure.failed() && of_medium) {
      return failure;
    }
    if (found && of_medium) {
      notes->push_back(*found);
    } else if (found && !found->held) {
      abandoned->push_back(*found);
    }
  }
  return Failure::None();
}

Failure FindNotes(ObjectStore& store, const MediumUrl& url, std::vector<FoundNote>* notes) {
  std::vector<FoundNote> ignored;
  return FindOtherNotes(store, url, "", notes, &ignored);
}

Failure FindUploads(ObjectStore& store, const MediumUrl& url, const WriteNote& note,
                    std::vector<ListedUpload>* uploads) {
  std::vector<ListedUpload> all;
  Failure failure = store.ListUploads(url.key, &all);
  std::vector<ListedUpload> unnamed;
  const std::size_t more = MorePrefix(url).size();
  for (ListedUpload& upload : all) {
    const bool noted = std::any_of(note.uploads.begin(), note.uploads.end(),
                                   [&](const NotedUpload& one) { return one.id == upload.id; });
    MoreName name;
    const bool named = upload.key.compare(0, more, MorePrefix(url)) == 0 &&
                       MoreName::Parse(upload.key.substr(more), &name) && name.token == note.token;
    if (noted || named) {
      uploads->push_back(std::move(upload));
    } else if (upload.key == url.key && upload.begun_unix_s + kClockSlack >= note.put_unix_s) {
      unnamed.push_back(std::move(upload));
    }
  }
  // Others have their ids in their notes, as soon as there is a part to be lost.
  if (failure.failed() || unnamed.empty() || !note.WaitsForId()) {
    return failure;
  }
  std::vector<FoundNote> others;
  failure = FindOtherNotes(store, url, note.token, &others, &others);
  for (const FoundNote& other : others) {
    if (!failure.failed() && other.held && other.note.WaitsForId()) {
      failure = Failure::Of(EBUSY, "an upload to medium '" + url.text +
                                       "' cannot be told from one that has just been begun")
                    .MayPass();
    }
    std::erase_if(unnamed, [&](const ListedUpload& upload) {
      return std::any_of(other.note.uploads.begin(), other.note.uploads.end(),
                         [&](const NotedUpload& one) { return one.id == upload.id; });
    });
  }
  uploads->insert(uploads->end(), unnamed.begin(), unnamed.end());
  return failure;
}

Failure DropWriting(ObjectStore& store, const MediumUrl& url, const WriteNote& note) {
  std::vector<ListedUpload> uploads;
  Failure failure = FindUploads(store, url, note, &uploads);
  for (const ListedUpload& upload : uploads) {
    if (!failure.failed()) {
      failure = store.AbortUpload(upload.key, upload.id);
    }
  }
  return failure.failed() ? failure : store.Delete(NoteKey(url, note.token));
}

Failure TakeBack(ObjectStore& store, const MediumUrl& url, const std::string& token) {
  Medium medium;
  if (Failure failure = ReadMedium(store, url, &medium); failure.failed()) {
    return failure;
  }
  if (!medium.EndsWith(token)) {
    return Failure::None();  // never counted, or continued, or replaced
  }
  // In order: without the first the others do not count.
  for (const MediumObject& object : medium.objects) {
    if (object.token == token) {
      if (Failure failure = store.Delete(object.key); failure.failed()) {
        return failure;
      }
    }
  }
  return Failure::None();
}

Failure RemoveUnreachable(ObjectStore& store, const MediumUrl& url, const std::string& medium_id,
                          const std::vector<ListedObject>& more) {
  Failure failure;
  for (const ListedObject& object : more) {
    MoreName name;
    if (!failure.failed() && MoreName::Parse(object.tail, &name) && name.medium_id != medium_id) {
      failure = store.Delete(MorePrefix(url) + object.tail);
    }
  }
  return failure;
}

}  // namespace capstan::s3
