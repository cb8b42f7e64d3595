// The result sets of RESTORE LABELONLY, HEADERONLY and FILELISTONLY: SQL Server's columns, in its
// order, with its types (documentation of the three statements, version 2022), of media of every
// program. What a medium does not say is NULL. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "server/catalog/catalog.h"
#include "server/media/family_reader.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

// What a listing needs to know that does not stand on the medium.
struct ListingContext {
  int device_type = 2;  // 2 disk, 5 tape, 7 virtual device, 9 URL
};

catalog::Table LabelOnlyTable(const media::MediaHeader& header);
// A set under a password shows its position, and that in place of its name; the rest is NULL.
catalog::Table HeaderOnlyTable(const media::MediumListing& listing, const ListingContext& context);
// The files of one set.
catalog::Table FileListTable(const media::SetListing& set);

// The number that msdb and HEADERONLY have for "DISK", "URL", "TAPE", "VIRTUAL_DEVICE".
int DeviceTypeNumber(const std::string& device_class);

// The set that FILE = n names; `target` is the medium in messages. 3287 if there is none, 3143 if
// another program than SQL Server wrote it.
Result<const media::SetListing*> FindListedSet(const media::MediumListing& listing,
                                               std::uint16_t file_number,
                                               const std::string& target);

}  // namespace capstan::coordinator
