#include <optional>
#include <utility>
#include <vector>

#include "server/media/block_composer.h"
#include "server/media/family_reader.h"
#include "server/media/medium_lister.h"
#include "server/media/peeked_source.h"
#include "server/media/sqlserver/container.h"
#include "server/media/sqlserver/listing.h"

namespace capstan::media {

std::vector<std::byte> SoftFilemark() {
  ByteVector mark;
  AppendFilemark(&mark, 1, 0, {});
  return mark;
}

namespace {

Result<MediumListing> ListMedium(MediumSource& source) {
  Lister lister(&source);
  CAPSTAN_ASSIGN_OR_RETURN(const Label label, lister.ReadLabel());
  bool ends_in_order = false;
  if (source.size_bytes() != 0 && label.header.software_vendor_id != kSqlServerVendorId) {
    CAPSTAN_ASSIGN_OR_RETURN(
        const std::optional<MediumIndex> index,
        ReadMediumIndex(source,
                        {.form = label.form, .first_mark = label.end, .foreign = label.foreign}));
    ends_in_order = index.has_value();
    if (index) {
      // If it fails, walking finds out why.
      Lister fast(&source);
      CAPSTAN_RETURN_IF_ERROR(fast.ReadLabel().status());
      if (fast.ListBetween(*index).ok()) {
        return fast.TakeListing();
      }
    }
  }
  CAPSTAN_RETURN_IF_ERROR(lister.Walk(ends_in_order));
  return lister.TakeListing();
}

}  // namespace

Result<MediaHeader> ReadLabel(MediumSource& source) {
  PeekedSource peeked(&source);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes start, peeked.Peek());
  if (sqlserver::IsContainer(start)) {
    sqlserver::UnpackedSource unpacked(&peeked);
    CAPSTAN_ASSIGN_OR_RETURN(Label label, Lister(&unpacked).ReadLabel());
    label.header.compressed = true;
    return std::move(label.header);
  }
  CAPSTAN_ASSIGN_OR_RETURN(Label label, Lister(&peeked).ReadLabel());
  return std::move(label.header);
}

Result<MediumListing> ReadListing(MediumSource& source) {
  PeekedSource peeked(&source);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes start, peeked.Peek());
  if (sqlserver::BySqlServer(start)) {
    return sqlserver::ListMedium(peeked, start,
                                 [](MediumSource& medium) { return ListMedium(medium); });
  }
  return ListMedium(peeked);
}

}  // namespace capstan::media
