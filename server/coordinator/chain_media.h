// ChainMedia: where the backup sets of a chain lie, whether they are there, and whether they can be
// decrypted. Headers of media are read, each medium's once.
//
// Threads: one.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/drive_map.h"
#include "server/engine/chain/chain_planner.h"
#include "server/engine/engine.h"
#include "server/media/family_reader.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

using ListMedium = std::function<Result<media::MediumListing>(const engine::TransferRequest&)>;

class ChainMedia {
 public:
  struct Parts {
    ListMedium list;
    // Whether the key under this thumbprint is here.
    std::function<bool(const std::string& thumbprint)> has_key;
    bool has_passphrase = false;  // the statement says where one is
  };
  // `session` has session id, user and statement.
  ChainMedia(Parts parts, engine::TransferRequest session);

  engine::SetObstacle Probe(const catalog::KnownSet& known);

  // A medium for each family, the first of its mirrors that holds the set. REQUIRES: Probe found no
  // obstacle.
  struct Source {
    std::string device_class;
    std::vector<std::string> targets;
    std::uint16_t position = 1;
  };
  Source SourceOf(const catalog::KnownSet& known);
  // With its files, as the medium says. nullopt: no medium of it can be read.
  std::optional<media::BackupSet> ReadSet(const catalog::KnownSet& known);

  // Why a medium of it could not be read, as a clause; empty: all could, or none was looked for.
  std::string FailureOf(const catalog::KnownSet& known) const;
  // "/b/sales.bak (present), /c/sales.bak (missing)".
  std::string PlacesText(const catalog::KnownSet& known);

 private:
  // Null: the medium is not there, or does not hold the set.
  const media::SetListing* Find(const catalog::KnownSet& known,
                                const catalog::KnownSet::Place& place);

  Parts parts_;
  const engine::TransferRequest session_;
  std::map<std::string, Result<media::MediumListing>> listings_;  // by class and target
};

// The sets on the media of a statement, whose targets may be patterns if they are on DISK: paths
// whose last part holds * or ?. What a pattern names and is no medium of ours is passed over. 3201
// if a folder cannot be read, or nothing is there.
Result<std::vector<catalog::KnownSet>> FindSetsOnMedia(const engine::TransferRequest& media,
                                                       const DriveMap& drives,
                                                       const ListMedium& list);

}  // namespace capstan::coordinator
