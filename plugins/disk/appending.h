// Appending: more at the end of a medium that exists, from its note to the commit.
//
//   note locked --> no other writer --> size noted, durable --> bytes behind the end
//     --> Publish: data durable, note gone: that is the commit
//     --> Discard: cut to the noted size, note gone
//
// As long as the note lies there, who opens the medium sees the noted size. A note whose owner died
// is settled by recovery only, since the engine may have promised its set; until then nobody else
// appends. Whoever replaces the medium takes the note away with it.
// Threads: one at a time. Failure: the medium is as it was when Begin fails.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "plugins/disk/append_note.h"
#include "plugins/disk/descriptor.h"
#include "plugins/disk/failure.h"
#include "plugins/disk/medium_directory.h"
#include "plugins/disk/medium_path.h"
#include "plugins/disk/writing.h"

namespace capstan::disk {

class Appending final : public Writing {
 public:
  // ENOENT: no such medium. EBUSY: somebody writes it, or an append is not settled.
  static Failure Begin(const MediumPath& path, const std::string& token,
                       std::unique_ptr<Appending>* result);

  int fd() const override { return file_.get(); }
  std::string file_path() const override { return path_.path; }
  std::int64_t committed() const override { return note_.committed; }
  bool published() const override { return published_; }
  Failure CheckPresence() const override;
  Failure Publish() override;
  Failure Discard() override;

  // What a crash left behind, with a note of the token, is finished or undone. Without such a note
  // (any more) nothing is done; COMMIT says ENOENT.
  static Failure RecoverCommit(const MediumPath& path, const std::string& token);
  static Failure RecoverDiscard(const MediumPath& path, const std::string& token);

  // Whether the token has completed an append to what now is the medium.
  static bool HasAppended(const MediumPath& path, const std::string& token);
  // Undoes that, unless the medium was continued since. Idempotent.
  static Failure TakeBack(const MediumPath& path, const std::string& token);

 private:
  Appending(MediumPath path, std::string token)
      : path_(std::move(path)),
        note_{.token = std::move(token)},
        note_name_(NoteName(path_.leaf, note_.token)) {}

  std::string note_path() const { return path_.directory + "/" + note_name_; }
  Failure NoteFailure(const char* what) const;  // with errno
  bool NoteIsOurs() const { return LeadsTo(directory_.get(), note_name_, note_file_.get()); }
  Failure CreateNote();
  Failure Hold();
  Failure NoteSize();
  Failure OpenMedium();
  Failure CheckSettled() const;
  Failure WriteNote();
  Failure RemoveNote();
  // Opens what a crash left; *fits: the note is whole and of this medium.
  Failure OpenLeftOver(bool* fits);
  Failure CutBack();

  const MediumPath path_;
  AppendNote note_;
  const std::string note_name_;
  Descriptor directory_;
  Descriptor note_file_;
  Descriptor file_;
  bool published_ = false;
};

}  // namespace capstan::disk
