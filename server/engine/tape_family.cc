#include "server/engine/tape_family.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "server/engine/device_source.h"
#include "server/engine/media_inspection.h"
#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

constexpr int kBlank = 3254;

bool GoesOn(const media::MediumListing& listing) {
  return !listing.sets.empty() && listing.sets.back().continues;
}

// The sequence number of the medium where the set at `position` must be looked for; 0: here, or
// nowhere.
std::uint16_t OtherMedium(const media::MediumListing& listing, std::uint16_t position) {
  const std::uint16_t here = listing.header.media_sequence_number;
  const bool in_front =
      listing.sets.empty() || listing.sets.front().set.position > position ||
      (listing.sets.front().set.position == position && listing.sets.front().continued);
  if (here > 1 && in_front) {
    return static_cast<std::uint16_t>(here - 1);
  }
  const bool behind = GoesOn(listing) && listing.sets.back().set.position < position;
  return behind ? static_cast<std::uint16_t>(here + 1) : std::uint16_t{0};
}

}  // namespace

Result<media::MediaHeader> TapeFamily::ReadLabel() {
  CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(set_, channel_));
  return media::ReadLabel(*source);
}

Result<media::MediumListing> TapeFamily::List() {
  CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(set_, channel_));
  return media::ReadListing(*source);
}

Status TapeFamily::CheckLabel(const media::MediaHeader& label, const media::MediaHeader& known,
                              std::uint16_t sequence_number) const {
  const std::string& target = channel_.target();
  if (media::MediaSetIdOf(label) != media::MediaSetIdOf(known)) {
    return SqlError(3258, target);
  }
  if (label.family_number != known.family_number) {
    return SqlError(3133, target, label.media_sequence_number, label.family_number, sequence_number,
                    known.family_number);
  }
  return label.media_sequence_number == sequence_number
             ? OkStatus()
             : SqlError(3247, target, label.media_sequence_number, sequence_number);
}

Result<media::MediumListing> TapeFamily::ListOther(const media::MediaHeader& known,
                                                   std::uint16_t sequence_number) {
  CAPSTAN_RETURN_IF_ERROR(media_.Load(sequence_number));
  CAPSTAN_ASSIGN_OR_RETURN(media::MediumListing listing, List());
  CAPSTAN_RETURN_IF_ERROR(CheckLabel(listing.header, known, sequence_number));
  return listing;
}

Result<media::MediumListing> TapeFamily::ListFirst() {
  CAPSTAN_ASSIGN_OR_RETURN(media::MediumListing listing, List());
  if (listing.header.media_sequence_number == 1) {
    return listing;
  }
  return ListOther(listing.header, 1);
}

Result<media::MediumListing> TapeFamily::ListLast() {
  CAPSTAN_ASSIGN_OR_RETURN(media::MediumListing listing, List());
  while (true) {
    const media::MediaHeader known = listing.header;
    const std::uint16_t here = known.media_sequence_number;
    // An earlier medium's set ends here without having come to its end.
    const bool torn = here > 1 && !listing.append && listing.sets.empty() &&
                      listing.tail != media::MediumTail::kUnknown;
    if (torn) {
      return ListBeginning(known, static_cast<std::uint16_t>(here - 1));
    }
    if (!GoesOn(listing)) {
      return listing;
    }
    Result<media::MediumListing> next = ListOther(known, static_cast<std::uint16_t>(here + 1));
    if (next.status().reason() == kBlank) {
      return ListBeginning(known, here);
    }
    CAPSTAN_RETURN_IF_ERROR(next.status());
    listing = std::move(next).value();
  }
}

Result<media::MediumListing> TapeFamily::ListBeginning(const media::MediaHeader& known,
                                                       std::uint16_t sequence_number) {
  CAPSTAN_ASSIGN_OR_RETURN(media::MediumListing listing, ListOther(known, sequence_number));
  while (GoesOn(listing) && listing.sets.back().continued && sequence_number > 1) {
    CAPSTAN_ASSIGN_OR_RETURN(listing, ListOther(known, --sequence_number));
  }
  if (GoesOn(listing)) {
    listing.append = std::exchange(listing.over_last, std::nullopt);
    listing.sets.pop_back();
  }
  return listing;
}

Result<std::optional<media::TapePlace>> TapeFamily::FindSet(std::uint16_t position) {
  const std::optional<media::TapePlace> from_the_beginning;
  if (position == 1) {
    const Result<media::MediaHeader> label = ReadLabel();
    if (!label.ok() || label->media_sequence_number == 1) {
      return label.ok() || IsAboutContents(label.status())
                 ? Result<std::optional<media::TapePlace>>(from_the_beginning)
                 : label.status();
    }
    CAPSTAN_RETURN_IF_ERROR(media_.Load(1));
    CAPSTAN_ASSIGN_OR_RETURN(const media::MediaHeader first, ReadLabel());
    CAPSTAN_RETURN_IF_ERROR(CheckLabel(first, *label, 1));
    return from_the_beginning;
  }
  Result<media::MediumListing> listing = List();
  std::uint16_t came_from = 0;
  while (listing.ok()) {
    for (const media::SetListing& each : listing->sets) {
      if (each.set.position == position && !each.continued) {
        return each.place;
      }
    }
    const std::uint16_t next = OtherMedium(*listing, position);
    if (next == 0 || next == came_from) {
      const std::size_t last = listing->sets.empty() ? 0 : listing->sets.back().set.position;
      return SqlError(3287, position, channel_.target())
          .WithHint(
              fmt::format("the medium holds {} backup sets; RESTORE HEADERONLY lists them", last));
    }
    came_from = listing->header.media_sequence_number;
    const media::MediaHeader known = listing->header;
    listing = ListOther(known, next);
  }
  return IsAboutContents(listing.status())
             ? Result<std::optional<media::TapePlace>>(from_the_beginning)
             : listing.status();
}

Status TapeFamily::CheckUnchanged(const media::MediaHeader& header,
                                  const media::AppendPoint& append) {
  CAPSTAN_ASSIGN_OR_RETURN(const media::MediumListing listing, List());
  CAPSTAN_RETURN_IF_ERROR(CheckLabel(listing.header, header, header.media_sequence_number));
  return listing.append == append || listing.over_last == append
             ? OkStatus()
             : SqlError(3201, channel_.target(), OsErrorText(EBUSY))
                   .WithOsError(EBUSY)
                   .WithHint(
                       "another backup has changed the medium meanwhile; run the statement "
                       "again");
}

}  // namespace capstan::engine
