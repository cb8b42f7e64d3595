// BackupSet to and from the Protobuf bytes of a descriptor stream. The one file of server/media
// that sees Protobuf types. Threads: any.
#pragma once

#include <optional>
#include <string>

#include "server/media/backup_set.h"
#include "server/media/mtf_values.h"

namespace capstan::media {

std::string EncodeDescriptor(const BackupSet& set);

// Nothing if the bytes are no descriptor of ours or say what cannot be. The memory that it takes is
// in proportion to bytes.size(), whatever stands there.
std::optional<BackupSet> DecodeDescriptor(Bytes bytes);

}  // namespace capstan::media
