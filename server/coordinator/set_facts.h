// Our own backup sets in the terms of HEADERONLY and FILELISTONLY. Pure.
#pragma once

#include <vector>

#include "server/media/family_reader.h"

namespace capstan::coordinator {

// Of any set, ours or another program's.
media::SetFacts FactsOf(const media::SetListing& listing);
std::vector<media::FileFacts> FilesOf(const media::SetListing& listing);

}  // namespace capstan::coordinator
