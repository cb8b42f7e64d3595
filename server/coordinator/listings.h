// The result sets of RESTORE LABELONLY, HEADERONLY and FILELISTONLY: SQL Server's columns, in its
// order, with its types (documentation of the three statements, version 2022), of media of every
// program. What a medium does not say is NULL. Pure.
#pragma once

#include <string>

#include "server/catalog/catalog.h"
#include "server/media/family_reader.h"

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

}  // namespace capstan::coordinator
