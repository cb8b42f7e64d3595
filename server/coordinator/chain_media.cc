#include "server/coordinator/chain_media.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fnmatch.h>

#include "server/messages/messages.h"

namespace capstan::coordinator {
namespace {

namespace fs = std::filesystem;
using catalog::KnownSet;
using engine::SetObstacle;

bool IsPattern(const std::string& name) {
  return name.find_first_of("*?") != std::string::npos;
}

// What a pattern names, in the order of the names.
Result<std::vector<std::string>> Expand(const std::string& pattern, const DriveMap& drives) {
  auto mapped = drives.Map(pattern);
  if (!mapped.ok()) {
    return SqlError(3201, pattern, kPathNotFound).WithHint(std::string(mapped.status().hint()));
  }
  const fs::path path(*mapped);
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(path.parent_path(), error);
       !error && at != fs::directory_iterator(); at.increment(error)) {
    std::error_code vanished;
    if (::fnmatch(path.filename().c_str(), at->path().filename().c_str(), FNM_PERIOD) == 0 &&
        at->is_regular_file(vanished)) {
      names.push_back(at->path().string());
    }
  }
  if (!error && names.empty()) {
    error = std::make_error_code(std::errc::no_such_file_or_directory);
  }
  if (error) {
    return SqlError(3201, pattern, OsErrorText(error.value())).WithOsError(error.value());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A further place of a set; a family that is there already is a mirror of it.
void AddPlace(std::vector<KnownSet>& sets, const media::MediumListing& listing,
              const media::SetListing& set, KnownSet::Place place) {
  auto known = std::find_if(sets.begin(), sets.end(), [&](const KnownSet& each) {
    return each.set.backup_set_guid == set.set.backup_set_guid;
  });
  if (known == sets.end()) {
    sets.push_back({.set = set.set, .media = listing.header});
    known = std::prev(sets.end());
  }
  const std::uint16_t family = listing.header.family_number;
  const auto mirrors =
      std::count_if(known->places.begin(), known->places.end(),
                    [&](const KnownSet::Place& each) { return each.family_number == family; });
  place.family_number = family;
  place.mirror = static_cast<std::uint16_t>(mirrors);
  known->places.push_back(std::move(place));
}

std::string KeyOf(const KnownSet::Place& place) {
  return place.device_class + "=" + place.target;
}

}  // namespace

ChainMedia::ChainMedia(Parts parts, engine::TransferRequest session)
    : parts_(std::move(parts)), session_(std::move(session)) {}

const media::SetListing* ChainMedia::Find(const KnownSet& known, const KnownSet::Place& place) {
  auto entry = listings_.find(KeyOf(place));
  if (entry == listings_.end()) {
    engine::TransferRequest request = session_;
    request.device_class = place.device_class;
    request.targets = {place.target};
    entry = listings_.emplace(KeyOf(place), parts_.list(request)).first;
  }
  if (!entry->second.ok()) {
    return nullptr;
  }
  const auto& sets = entry->second->sets;
  const auto found = std::find_if(sets.begin(), sets.end(), [&](const media::SetListing& set) {
    return set.complete && set.set.backup_set_guid == known.set.backup_set_guid;
  });
  return found == sets.end() ? nullptr : &*found;
}

SetObstacle ChainMedia::Probe(const KnownSet& known) {
  for (std::uint16_t family = 1; family <= std::max<std::uint16_t>(known.media.family_count, 1);
       ++family) {
    const bool there =
        std::any_of(known.places.begin(), known.places.end(), [&](const KnownSet::Place& place) {
          return place.family_number == family && Find(known, place) != nullptr;
        });
    if (!there) {
      return SetObstacle::kMediaMissing;
    }
  }
  if (!known.set.encrypted()) {
    return SetObstacle::kNone;
  }
  const bool has_key = known.set.encryption.encryptor_type == "PASSPHRASE"
                           ? parts_.has_passphrase
                           : parts_.has_key(known.set.encryption.thumbprint);
  return has_key ? SetObstacle::kNone : SetObstacle::kKeyMissing;
}

ChainMedia::Source ChainMedia::SourceOf(const KnownSet& known) {
  Source source;
  for (std::uint16_t family = 1; family <= std::max<std::uint16_t>(known.media.family_count, 1);
       ++family) {
    for (const KnownSet::Place& place : known.places) {
      const media::SetListing* const set =
          place.family_number == family ? Find(known, place) : nullptr;
      if (set != nullptr) {
        source.device_class = place.device_class;
        source.targets.push_back(place.target);
        source.position = set->set.position;
        break;
      }
    }
  }
  return source;
}

std::optional<media::BackupSet> ChainMedia::ReadSet(const KnownSet& known) {
  for (const KnownSet::Place& place : known.places) {
    if (const media::SetListing* const set = Find(known, place); set != nullptr) {
      return set->set;
    }
  }
  return std::nullopt;
}

std::string ChainMedia::FailureOf(const KnownSet& known) const {
  for (const KnownSet::Place& place : known.places) {
    const auto entry = listings_.find(KeyOf(place));
    if (entry != listings_.end() && !entry->second.ok()) {
      std::string text(entry->second.status().message());
      if (text.ends_with('.')) {
        text.pop_back();
      }
      return text;
    }
  }
  return {};
}

std::string ChainMedia::PlacesText(const KnownSet& known) {
  std::string text;
  for (const KnownSet::Place& place : known.places) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", place.target,
                        Find(known, place) != nullptr ? "present" : "missing");
  }
  return text;
}

Result<std::vector<KnownSet>> FindSetsOnMedia(const engine::TransferRequest& media,
                                              const DriveMap& drives, const ListMedium& list) {
  const bool disk = media.device_class == "DISK";
  std::vector<KnownSet> sets;
  for (const std::string& target : media.targets) {
    std::vector<std::string> names{target};
    if (disk && IsPattern(target)) {
      CAPSTAN_ASSIGN_OR_RETURN(names, Expand(target, drives));
    }
    for (const std::string& name : names) {
      engine::TransferRequest request = media;
      request.targets = {name};
      const auto listing = list(request);
      if (!listing.ok()) {
        if (name == target || listing.status().code() == Code::kCancelled) {
          return listing.status();
        }
        continue;  // no medium, or a damaged one
      }
      for (const media::SetListing& set : listing->sets) {
        if (set.complete && !set.foreign) {
          AddPlace(sets, *listing, set, {.device_class = media.device_class, .target = name});
        }
      }
    }
  }
  return sets;
}

}  // namespace capstan::coordinator
