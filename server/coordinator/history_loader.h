// History from media: RESTORE VERIFYONLY ... WITH LOADHISTORY, and sp_load_history, which builds a
// lost catalog again from what lies in folders.
//
// Threads: any; a load runs on the thread that calls.
#pragma once

#include <functional>
#include <string>

#include "server/catalog/catalog.h"
#include "server/coordinator/drive_map.h"
#include "server/engine/engine.h"

namespace capstan::coordinator {

class HistoryLoader {
 public:
  // Engine and drives must outlive the loader. `session` has session id, user and statement.
  HistoryLoader(engine::Engine& engine, const DriveMap& drives, engine::TransferRequest session)
      : engine_(engine), drives_(drives), session_(std::move(session)) {}

  // Loads the media of a restore; all of them must be readable.
  Status LoadDevices(const engine::TransferRequest& media);

  // Loads media on disk, and those in folders and the folders below them. In folders media are
  // known by their first bytes, whatever they are called; other files are passed over. What
  // cannot be read is said in its row and stops nothing. All is loaded, or nothing: `stop` is asked
  // between media and ends it with 3204. One row a medium.
  Result<catalog::Table> LoadPaths(const std::vector<std::string>& paths,
                                   const std::function<bool()>& stop);

 private:
  Result<std::vector<std::string>> FindMedia(const std::string& path) const;

  engine::Engine& engine_;
  const DriveMap& drives_;
  const engine::TransferRequest session_;
};

}  // namespace capstan::coordinator
