// Writing: what a device that writes has under way, from its note to the commit.
//
//   note put --> no other writer; a new medium's first upload begun --> its id noted, beside the
//   data
//     --> Publish: uploads completed, the first object last: that is the commit; note gone
//     --> Discard: uploads aborted, note gone
//
// Later uploads have the token in their keys. Noted() is what makes a flush durable: recovery can
// complete what is in the note.
//
// The note is also what keeps others away. One whose owner died is settled by recovery, since the
// engine may have promised its set; nobody appends until then. Whoever replaces the medium takes it
// away, and so does anybody who finds it after Settings::abandoned_after_h.
// Threads: one at a time. Failure: nothing is left of it when Begin fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "plugins/s3/medium.h"
#include "plugins/s3/object_store.h"
#include "plugins/s3/part_plan.h"
#include "plugins/s3/settling.h"
#include "plugins/s3/upload.h"
#include "plugins/s3/write_note.h"

namespace capstan::s3 {

class Writing {
 public:
  enum class Kind { kCreate, kReplace, kAppend };
  struct Options {
    Kind kind = Kind::kCreate;
    std::string token;
    std::int64_t retain_until_unix_s = 0;
  };

  // EEXIST, ENOENT: there is a medium, or none. EBUSY: somebody writes it, or an append to it is
  // not settled. `store` outlives it.
  static Failure Begin(ObjectStore& store, const MediumUrl& url, const Options& options,
                       std::unique_ptr<Writing>* result);
  ~Writing();  // leaves everything where it is, for recovery

  // What is appended to; of a new medium: nothing.
  const Medium& before() const { return before_; }
  bool published() const { return published_; }

  // The upload of the object that the part belongs to.
  Failure UploadFor(const PartPlace& place, Upload** upload);

  // Waits until all uploads are in the note.
  Failure Noted();

  // Waits a while for what is being noted: a request that is broken off may still be obeyed, and
  // must not bring back a note that was removed.
  void LetNoteArrive(std::chrono::milliseconds at_most);

  // REQUIRES: all parts were sent. Idempotent.
  Failure Publish();

  // Also when it was published already. Idempotent.
  Failure Discard();

  // What a crash left behind is finished or removed; see plugin.h. ENOENT: there is nothing to
  // finish.
  static Failure RecoverCommit(ObjectStore& store, const MediumUrl& url, const std::string& token);
  static Failure RecoverDiscard(ObjectStore& store, const MediumUrl& url, const std::string& token);

 private:
  Writing(ObjectStore& store, MediumUrl url, Options options);

  Failure LookAround();
  Failure CheckMedium();
  Failure CheckOthers();
  void NoteRetention();
  Failure BeginUpload(const std::string& key);
  void Tidy();
  Failure PublishEmpty();
  Failure PublishUpload(Upload& upload);
  std::string KeyOf(const PartPlace& place) const;
  std::vector<NameValue> ObjectHeaders() const;

  ObjectStore& store_;
  const MediumUrl url_;
  const Options options_;
  Medium before_;
  WriteNote note_;
  std::vector<FoundNote> others_;                 // left by writers that are gone
  std::vector<FoundNote> abandoned_;              // of other media, too
  std::vector<ListedObject> more_;                // behind what a new medium replaces
  std::future<Failure> noting_;                   // invalid: nothing to wait for
  std::vector<std::unique_ptr<Upload>> uploads_;  // by index of their objects
  bool published_ = false;
};

}  // namespace capstan::s3
