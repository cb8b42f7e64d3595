// Construction: a new medium while it is being written, from its hidden partial file to its name.
//
// The bytes go to ".<leaf>.<token>.capstan-partial" beside the target; a medium of the target's
// name stays untouched until Publish. The partial is locked (flock) until it is published, which is
// how a second writer of the same target is recognised. The token is also noted in the extended
// attribute "user.capstan.token", so that recovery can tell our medium from somebody else's.
// Threads: one at a time. Failure: whatever Begin created is gone again when it fails.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "plugins/disk/descriptor.h"
#include "plugins/disk/failure.h"
#include "plugins/disk/medium_path.h"

namespace capstan::disk {

class Construction {
 public:
  enum class NameTaken : std::uint8_t { kReplace, kRefuse };

  static Failure Begin(const MediumPath& path, const std::string& token, NameTaken name_taken,
                       std::unique_ptr<Construction>* result);

  // Leaves the partial where it is, unlocked.
  ~Construction() = default;

  int fd() const { return file_.get(); }
  std::string partial_path() const { return path_.directory + "/" + partial_; }
  bool published() const { return published_; }

  // Fails when the partial or its directory is no longer reachable by name: removed by someone, or
  // another file system was mounted there, or ours went away.
  Failure CheckPresence() const;

  // Durably gives the medium its name. The data must be durable before. Idempotent.
  Failure Publish();

  // Removes what was begun, also when it was published already. Idempotent.
  Failure Discard();

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
  Failure LockPartial();
  Failure CheckNoOtherWriter() const;
  Failure Rename();
  bool FinalIsOurs() const;
  Failure SyncDirectory() const;

  const MediumPath path_;
  const std::string token_;
  const NameTaken name_taken_;
  const std::string partial_;
  Descriptor directory_;
  Descriptor file_;
  bool published_ = false;
};

}  // namespace capstan::disk
