// What becomes of a data directory whose restore is given up, by its user or by a crash, or stays
// for another one to go on with.
#pragma once

#include <string>

#include "vdi/base/status.h"

namespace capstan::writers {

// Removes everything of a cluster that is being restored: what is in its data directory, in its
// tablespaces' folders of its version and in its log's; the folders themselves stay. Not being
// restored, or not there: nothing to do. Error 3101 if a server runs on it, or a restore is under
// way.
Status AbandonDirectory(const std::string& data_directory);

// After a crash in the session `job_name`. What was new is removed, and all of a restore that was
// kept; where a cluster was to be replaced, what is there is left for the next restore, which needs
// to write less then.
Status DiscardDirectory(const std::string& data_directory, const std::string& job_name);

// The same, but what a session of that name can go on with stays: false if that is nothing. Not
// before the session is over: error 3101.
Result<bool> KeepDirectory(const std::string& data_directory, const std::string& job_name);

}  // namespace capstan::writers
