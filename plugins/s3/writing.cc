#include "plugins/s3/writing.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <utility>

#include "plugins/s3/settling.h"
#include "plugins/s3/together.h"

namespace capstan::s3 {
namespace {

constexpr std::chrono::seconds kGraceTime{1};
constexpr std::chrono::seconds kDiscardTime{3};
constexpr std::int64_t kDay = 86'400;  // seconds
constexpr const char* kLockMode = "x-amz-object-lock-mode";
constexpr const char* kLockUntil = "x-amz-object-lock-retain-until-date";

std::string Describe(const std::string& owner) {
  const std::size_t slash = owner.find('/');
  const std::size_t process_end = owner.rfind('/');
  const std::size_t process = owner.rfind('/', process_end - 1);
  return slash == std::string::npos
             ? owner
             : "process " + owner.substr(process + 1, process_end - process - 1) + " on host " +
                   DecodeUri(owner.substr(0, slash));
}

// Ends the completion of one object. What was completed before, by us or by the same request whose
// answer got lost, is complete.
Failure CompleteNoted(ObjectStore& store, const std::string& key, Failure completed,
                      const WriteNote& note) {
  if (completed.os_error == ENOENT || completed.os_error == ESTALE) {
    ObjectInfo info;
    if (Failure failure = store.Head(key, &info); failure.failed()) {
      return failure;
    }
    const bool ours = info.exists && (key != note.key || info.token == note.token);
    if (!ours && completed.os_error == ESTALE) {
      return Failure::Of(EEXIST, "'" + key + "' has been put there meanwhile");
    }
    completed = ours ? Failure::None() : completed;
  }
  return completed.failed() || note.lock_mode.empty()
             ? completed
             : store.EnsureLocked(key, note.lock_mode, note.lock_until_unix_s);
}

}  // namespace

Writing::Writing(ObjectStore& store, MediumUrl url, Options options)
    : store_(store),
      url_(std::move(url)),
      options_(std::move(options)),
      note_{.key = url_.key, .token = options_.token, .owner = ThisProcess()} {
  HoldNote(url_.bucket, NoteKey(url_, options_.token));
}

Writing::~Writing() {
  if (noting_.valid()) {
    noting_.wait();  // bounded by the client; the request is not to outlive the store
  }
  ReleaseNote(url_.bucket, NoteKey(url_, options_.token));
}

Failure Writing::Begin(ObjectStore& store, const MediumUrl& url, const Options& options,
                       std::unique_ptr<Writing>* result) {
  if (!IsToken(options.token)) {
    return Failure::Of(EINVAL, "token '" + options.token + "' cannot be one of ours");
  }
  std::unique_ptr<Writing> writing(new Writing(store, url, options));
  if (options.kind != Kind::kAppend) {
    writing->note_.uploads.push_back({.key = url.key});
  }
  writing->NoteRetention();
  if (!writing->note_.lock_mode.empty()) {
    if (Failure failure = store.CheckObjectLock(); failure.failed()) {
      return failure;
    }
  }
  // First the note, then the look at others': of two that come at once, one at least sees the
  // other.
  Failure failure = store.Put(NoteKey(url, options.token), EncodeNote(writing->note_));
  if (failure.failed()) {
    return failure;
  }
  failure = writing->LookAround();
  if (failure.failed()) {
    writing->LetNoteArrive(kGraceTime);
    store.client().BreakOff(kDiscardTime);  // whatever it waited for, it has waited long enough
    [[maybe_unused]] const Failure ignored = writing->Discard();
    return failure;
  }
  *result = std::move(writing);
  return Failure::None();
}

Failure Writing::LookAround() {
  const auto find_others = [this] {
    return FindOtherNotes(store_, url_, options_.token, &others_, &abandoned_);
  };
  const auto check_medium = [this] { return CheckMedium(); };
  Failure failure;
  if (options_.kind == Kind::kAppend) {
    failure = Together({find_others, check_medium});
  } else {
    failure = Together({find_others, check_medium, [this] { return BeginUpload(url_.key); },
                        [this] { return store_.List(MorePrefix(url_), &more_, nullptr); }});
  }
  if (!failure.failed()) {
    failure = CheckOthers();
  }
  return failure;
}

Failure Writing::CheckMedium() {
  if (options_.kind == Kind::kAppend) {
    Failure failure = ReadMedium(store_, url_, &before_);
    return failure.failed() || before_.exists()
               ? failure
               : Failure::Of(ENOENT, "unable to append to medium '" + url_.text + "'");
  }
  // Where nothing can be locked, whoever replaces need not look.
  if (options_.kind == Kind::kReplace && store_.settings().object_lock == ObjectLock::kNone) {
    return Failure::None();
  }
  ObjectInfo info;
  Failure failure = store_.Head(url_.key, &info);
  if (failure.failed() || !info.exists) {
    return failure;
  }
  return options_.kind == Kind::kCreate
             ? Failure::Of(EEXIST, "unable to create medium '" + url_.text + "'")
             : CheckUnlocked(url_, info.lock_mode, info.locked_until_unix_s);
}

// Notes without anybody at them are recovery's, and those of this medium ours if we replace it.
Failure Writing::CheckOthers() {
  for (const FoundNote& found : others_) {
    if (found.held) {
      return Failure::Of(
          EBUSY, "medium '" + url_.text + "' is being written by " + Describe(found.note.owner),
          "if that host is gone, remove '" + found.key + "'");
    }
    if (options_.kind == Kind::kAppend) {
      return Failure::Of(EBUSY, "what " + Describe(found.note.owner) +
                                    " began to write to medium '" + url_.text +
                                    "' is not settled yet; its server does that")
          .MayPass();
    }
  }
  return Failure::None();
}

std::string Writing::KeyOf(const PartPlace& place) const {
  if (options_.kind != Kind::kAppend && place.object_index == 0) {
    return url_.key;
  }
  const bool appends = options_.kind == Kind::kAppend;
  const MoreName name{.medium_id = appends ? before_.id : MediumIdOf(options_.token),
                      .begin = before_.size + place.object_begin,
                      .token = options_.token,
                      .index = place.object_index};
  return MorePrefix(url_) + name.tail();
}

// How long this is to be locked is the note's, so that recovery knows it, too.
void Writing::NoteRetention() {
  const Settings& settings = store_.settings();
  const std::int64_t least =
      settings.object_lock_days == 0 ? 0 : std::time(nullptr) + settings.object_lock_days * kDay;
  const std::int64_t until = std::max(options_.retain_until_unix_s, least);
  if (settings.object_lock != ObjectLock::kNone && until > 0) {
    note_.lock_mode = settings.object_lock == ObjectLock::kCompliance ? "COMPLIANCE" : "GOVERNANCE";
    note_.lock_until_unix_s = until;
  }
}

std::vector<NameValue> Writing::ObjectHeaders() const {
  std::vector<NameValue> headers{{kTokenHeader, options_.token},
                                 {"Content-Type", "application/octet-stream"}};
  if (!note_.lock_mode.empty()) {
    headers.emplace_back(kLockMode, note_.lock_mode);
    headers.emplace_back(kLockUntil, UtcText(note_.lock_until_unix_s));
  }
  return headers;
}

Failure Writing::BeginUpload(const std::string& key) {
  std::string id;
  if (Failure failure = store_.CreateUpload(key, ObjectHeaders(), &id); failure.failed()) {
    return failure;
  }
  if (note_.WaitsForId()) {
    note_.uploads.front().id = id;
  } else {
    note_.uploads.push_back({.key = key, .id = id});
  }
  uploads_.push_back(std::make_unique<Upload>(store_, key, id));
  if (Failure failure = Noted(); failure.failed()) {  // of the one before, so that none overtakes
    return failure;
  }
  noting_ = store_.StartPut(NoteKey(url_, options_.token), EncodeNote(note_));
  return Failure::None();
}

Failure Writing::Noted() {
  return noting_.valid() ? noting_.get() : Failure::None();
}

void Writing::LetNoteArrive(std::chrono::milliseconds at_most) {
  if (noting_.valid()) {
    noting_.wait_for(at_most);
  }
}

Failure Writing::UploadFor(const PartPlace& place, Upload** upload) {
  if (place.object_index > uploads_.size()) {
    return Failure::Of(ENOTSUP, "the objects of a medium are written one after the other");
  }
  if (place.object_index == uploads_.size()) {
    if (Failure failure = BeginUpload(KeyOf(place)); failure.failed()) {
      return failure;
    }
  }
  *upload = uploads_[place.object_index].get();
  return Failure::None();
}

// A medium without a byte: uploads have a part at least.
Failure Writing::PublishEmpty() {
  if (options_.kind == Kind::kAppend) {
    return Failure::None();
  }
  Failure failure = store_.Put(url_.key, "", ObjectHeaders());
  return failure.failed() ? failure : store_.AbortUpload(url_.key, uploads_.front()->id());
}

Failure Writing::PublishUpload(Upload& upload) {
  std::vector<NameValue> condition;
  if (options_.kind == Kind::kCreate && upload.key() == url_.key) {
    condition.emplace_back("If-None-Match", "*");
  }
  Failure failure = upload.Complete(condition);
  if (failure.os_error == ENOTSUP && !condition.empty()) {
    failure = upload.Complete({});
  }
  return CompleteNoted(store_, upload.key(), std::move(failure), note_);
}

Failure Writing::Publish() {
  if (published_) {
    return Failure::None();
  }
  Failure failure = Noted();
  const bool empty = uploads_.empty() || !uploads_.front()->has_parts();
  if (!failure.failed() && empty) {
    failure = PublishEmpty();
  }
  for (std::size_t index = uploads_.size(); index-- > 0 && !empty && !failure.failed();) {
    failure = PublishUpload(*uploads_[index]);
  }
  if (failure.failed()) {
    return failure.Within("complete medium '" + url_.text + "'");
  }
  published_ = true;
  Tidy();
  return Failure::None();
}

// The medium counts. What fails here is only untidy, and tidied by the next one who comes.
void Writing::Tidy() {
  std::vector<std::function<Failure()>> tasks{
      [this] { return store_.Delete(NoteKey(url_, options_.token)); }};
  if (options_.kind != Kind::kAppend) {
    for (const FoundNote& found : others_) {
      tasks.emplace_back([this, &found] { return DropWriting(store_, url_, found.note); });
    }
    if (!more_.empty()) {
      tasks.emplace_back(
          [this] { return RemoveUnreachable(store_, url_, MediumIdOf(options_.token), more_); });
    }
  }
  for (const FoundNote& found : abandoned_) {
    tasks.emplace_back([this, &found] {
      MediumUrl url{.text = found.note.key, .bucket = url_.bucket, .key = found.note.key};
      return DropWriting(store_, url, found.note);
    });
  }
  [[maybe_unused]] const Failure untidy = Together(tasks);
}

Failure Writing::Discard() {
  if (published_) {
    Failure failure = TakeBack(store_, url_, options_.token);
    return failure.Within("take back medium '" + url_.text + "'");
  }
  [[maybe_unused]] const Failure noted = Noted();
  std::vector<std::function<Failure()>> tasks;
  for (const auto& upload : uploads_) {
    tasks.emplace_back([&] { return store_.AbortUpload(upload->key(), upload->id()); });
  }
  Failure failure = tasks.empty() ? Failure::None() : Together(tasks);
  if (!failure.failed()) {
    // One that was begun without our hearing of it, too.
    failure = note_.WaitsForId() ? DropWriting(store_, url_, note_)
                                 : store_.Delete(NoteKey(url_, options_.token));
  }
  return failure.Within("discard what was written of medium '" + url_.text + "'");
}

Failure Writing::RecoverCommit(ObjectStore& store, const MediumUrl& url, const std::string& token) {
  WriteNote note;
  const std::string note_key = NoteKey(url, token);
  Failure failure = ReadNote(store, note_key, &note);
  if (failure.os_error == ENOENT) {
    // Complete before, or never begun, or replaced since.
    Medium medium;
    if (failure = ReadMedium(store, url, &medium); failure.failed()) {
      return failure;
    }
    return medium.Holds(token)
               ? Failure::None()
               : Failure::Of(ENOENT, "token '" + token + "' has nothing to finish of medium '" +
                                         url.text + "'");
  }
  for (std::size_t index = note.uploads.size(); index-- > 0 && !failure.failed();) {
    const NotedUpload& upload = note.uploads[index];
    if (upload.id.empty()) {
      return Failure::Of(ENOENT, "token '" + token + "' had written nothing of medium '" +
                                     url.text + "' that could be completed");
    }
    std::vector<UploadedPart> parts;
    Failure completed = store.ListParts(upload.key, upload.id, &parts);
    if (!completed.failed() && parts.empty()) {  // a medium without a byte
      failure = store.Put(upload.key, "", {{kTokenHeader, token}});
      continue;
    }
    if (!completed.failed()) {
      completed = store.CompleteUpload(upload.key, upload.id, parts);
    }
    failure = CompleteNoted(store, upload.key, std::move(completed), note);
  }
  return failure.failed() ? failure : store.Delete(note_key);
}

Failure Writing::RecoverDiscard(ObjectStore& store, const MediumUrl& url,
                                const std::string& token) {
  WriteNote note;
  Failure failure = ReadNote(store, NoteKey(url, token), &note);
  if (!failure.failed()) {
    failure = DropWriting(store, url, note);
  }
  return failure.failed() && failure.os_error != ENOENT ? failure : TakeBack(store, url, token);
}

}  // namespace capstan::s3
