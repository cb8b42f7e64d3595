// Construction: a new medium while it is being written, from its hidden partial file to its name.
//
//   Begin   creates the partial; Resume opens the one that an earlier construction left
//
// The bytes go to ".<leaf>.<token>.capstan-partial" beside the target; a medium of the target's
// name stays untouched until Publish. The partial is locked (flock) until it is published, which is
// how a second writer of the same target is recognised. The token is also noted in the extended
// attribute "user.capstan.token", so that recovery can tell our medium from somebody else's.
// Threads: one at a time. Failure: whatever Begin created is gone again when it fails; what Resume
// found stays as it was.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "plugins/disk/descriptor.h"
#include "plugins/disk/failure.h"
#include "plugins/disk/medium_path.h"
#include "plugins/disk/writing.h"

namespace capstan::disk {

class Construction final : public Writing {
 public:
  enum class NameTaken : std::uint8_t { kReplace, kRefuse };

  static Failure Begin(const MediumPath& path, const std::string& token, NameTaken name_taken,
                       std::unique_ptr<Construction>* result);

  // ENOENT: the token has left nothing that could be gone on with, and the message says why.
  static Failure Resume(const MediumPath& path, const std::string& token, NameTaken name_taken,
                        std::unique_ptr<Construction>* result);

  int fd() const override { return file_.get(); }
  std::string file_path() const override {
    return path_.directory + "/" + (published_ ? path_.leaf : partial_);
  }
  std::int64_t committed() const override { return 0; }
  std::int64_t read_end() const override;
  // Must come before the partial is made durable, each time.
  Failure NoteEnd(std::int64_t end) override;
  bool published() const override { return published_; }
  Failure CheckPresence() const override;
  // Gives the medium its name.
  Failure Publish() override;
  // A published medium stays if it was replaced or continued since.
  Failure Discard() override;

  // What a crash left behind is finished or removed. Idempotent, see plugin.h.
  static Failure RecoverCommit(const MediumPath& path, const std::string& token);
  static Failure RecoverDiscard(const MediumPath& path, const std::string& token);

 private:
  Construction(MediumPath path, std::string token, NameTaken name_taken)
      : path_(std::move(path)),
        token_(std::move(token)),
        name_taken_(name_taken),
        partial_(PartialName(path_.leaf, token_)) {}

  Failure OpenDirectory();
  Failure CheckTarget() const;
  Failure CreatePartial();
  Failure OpenLeftOver();
  Failure OpenPartial();
  Failure NothingLeft() const;
  // Cuts the file to what an earlier construction wrote, which is what left_size_ then says.
  Failure TakeOver();
  Failure CutTo(std::int64_t size);
  Failure CutToNotedEnd();
  Failure Rename();
  bool FinalIsOurs() const;

  const MediumPath path_;
  const std::string token_;
  const NameTaken name_taken_;
  const std::string partial_;
  Descriptor directory_;
  Descriptor file_;
  std::int64_t left_size_ = 0;  // bytes that an earlier construction left
  bool noted_ = false;          // an EndRecord is behind what an earlier construction left
  bool published_ = false;
};

}  // namespace capstan::disk
