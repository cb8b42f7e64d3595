#include "server/engine/media_inspection.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "server/engine/device_source.h"
#include "server/engine/restore_job.h"
#include "server/engine/tape_family.h"
#include "server/engine/worker_group.h"
#include "server/media/media_password.h"
#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

constexpr std::uint32_t kListingTransferSize = 64 << 10;  // bytes

class SilentObserver final : public JobObserver {
 public:
  void OnMessage(int, const std::string&) override {}
  void OnProgress(const JobSnapshot&) override {}
};

// What `read` makes of the first device's medium.
template <typename Contents>
Result<Contents> ReadMedium(
    const Engine::Parts& parts, const TransferRequest& transfer, Job& job,
    const std::function<Result<Contents>(OpenSet& set, const FirstError& error)>& read) {
  TransferRequest first = transfer;
  first.targets.resize(1);
  first.buffer_count = 2;
  first.max_transfer_size =
      transfer.device_class == "VIRTUAL_DEVICE" ? transfer.max_transfer_size : kListingTransferSize;
  CAPSTAN_ASSIGN_OR_RETURN(const auto set,
                           OpenForReading(parts, first, [&job] { return job.cancelled(); }));
  Contents contents;
  const auto timeout = parts.settings.timeouts.device;
  CAPSTAN_RETURN_IF_ERROR(RunWatched(job, *set, timeout, [&](const FirstError& error) -> Status {
    CAPSTAN_ASSIGN_OR_RETURN(contents, read(*set, error));
    return OkStatus();
  }));
  CAPSTAN_RETURN_IF_ERROR(set->Close());
  return contents;
}

Result<media::MediumListing> ListDevice(OpenSet& set, const TransferRequest& transfer) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(set, set.device(0)));
  CAPSTAN_ASSIGN_OR_RETURN(media::MediumListing listing, media::ReadListing(*source));
  CAPSTAN_RETURN_IF_ERROR(media::CheckMediaPassword(listing.header, transfer.media_password));
  return listing;
}

// What a BACKUP that does not format has to know of the first device's medium, or of those that
// follow it.
Result<media::MediumListing> ListToWrite(const Engine::Parts& parts,
                                         const TransferRequest& transfer, MediaUse use, Job& job) {
  const auto list = [&transfer, use](OpenSet& set,
                                     const FirstError& error) -> Result<media::MediumListing> {
    if (!set.hard_filemarks()) {
      return ListDevice(set, transfer);
    }
    TapeFamily family(set, set.device(0), error);
    return use == MediaUse::kAppend ? family.ListLast() : family.ListFirst();
  };
  return ReadMedium<media::MediumListing>(parts, transfer, job, list);
}

Result<media::MediumState> InspectMedium(const Engine::Parts& parts,
                                         const TransferRequest& transfer, MediaUse use, Job& job) {
  const std::string& target = transfer.targets.front();
  media::MediumState state{.target = target, .exists = false, .failure = {}, .listing = {}};
  CAPSTAN_ASSIGN_OR_RETURN(const MediumStat stat,
                           parts.devices.Stat(transfer.device_class, {.name = target, .token = ""},
                                              Deadline::After(parts.settings.timeouts.open)));
  state.exists = stat.exists;
  // A drive does not know what its cartridge holds.
  if (!stat.exists || (stat.size_bytes == 0 && transfer.device_class != "TAPE")) {
    return state;
  }
  Result<media::MediumListing> listing = ListToWrite(parts, transfer, use, job);
  if (listing.ok()) {
    state.listing = std::move(listing).value();
  } else if (IsAboutContents(listing.status())) {
    state.failure = listing.status();
  } else if (listing.status().reason() != 3254) {
    return listing.status();
  }
  return state;
}

// A buffer of a set's pool for as long as this lives; null once the pool is stopped.
class BorrowedBuffer {
 public:
  explicit BorrowedBuffer(TransferPool& pool) : pool_(pool), buffer_(pool.Take()) {}
  ~BorrowedBuffer() {
    if (buffer_ != nullptr) {
      pool_.Return(buffer_);
    }
  }
  BorrowedBuffer(const BorrowedBuffer&) = delete;
  BorrowedBuffer& operator=(const BorrowedBuffer&) = delete;
  TransferBuffer* get() { return buffer_; }

 private:
  TransferPool& pool_;
  TransferBuffer* const buffer_;
};

// The first `size` bytes of the medium in device `index`.
Status CopyMedium(OpenSet& from, OpenSet& to, std::size_t index, std::uint64_t size) {
  const auto source = DeviceSource::Create(from, from.device(index));
  CAPSTAN_RETURN_IF_ERROR(source.status());
  BorrowedBuffer buffer(to.pool());
  if (buffer.get() == nullptr) {
    return SqlError(3204);
  }
  for (std::uint64_t at = 0; at < size;) {
    const std::span<std::byte> piece = buffer.get()->data.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.get()->data.size(), size - at)));
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, (*source)->ReadAt(at, piece));
    vdi::ServerCommand command;
    command.code = vdi::CommandCode::kWrite;
    command.buffer = piece.data();
    command.size = static_cast<std::uint32_t>(piece.size());
    command.position = static_cast<std::int64_t>(at);
    CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, to.device(index).Execute(command));
    if (filled != piece.size() || done.completion_code != vdi::CompletionCode::kSuccess ||
        done.bytes_transferred != piece.size()) {
      return to.ErrorOf(Direction::kWrite, to.device(index), done.completion_code);
    }
    at += piece.size();
  }
  return OkStatus();
}

}  // namespace

Status RunWatched(Job& job, OpenSet& set, std::chrono::milliseconds device_timeout,
                  std::function<Status(const FirstError& error)> work) {
  FirstError error;
  const std::atomic<std::uint64_t> no_progress{0};
  SilentObserver silent;
  Monitor monitor({job, silent, set, error, no_progress, device_timeout, {}});
  {
    WorkerGroup worker(error);
    worker.Start([&] { return work(error); });
    monitor.RunUntil([&](std::chrono::milliseconds patience) { return worker.WaitAll(patience); });
  }
  return error.failed() ? error.status() : OkStatus();
}

bool IsAboutContents(const Status& status) {
  switch (status.reason()) {
    case 3208:
    case 3239:
    case 3241:
    case 3242:
    case 3243:
      return true;
    default:
      return false;
  }
}

Result<media::MediumListing> ListMedium(const Engine::Parts& parts, const TransferRequest& transfer,
                                        Job& job) {
  return ReadMedium<media::MediumListing>(
      parts, transfer, job,
      [&transfer](OpenSet& set, const FirstError&) { return ListDevice(set, transfer); });
}

Result<media::MediumMap> MapMedium(const Engine::Parts& parts, const TransferRequest& transfer,
                                   Job& job) {
  return ReadMedium<media::MediumMap>(
      parts, transfer, job,
      [&transfer](OpenSet& set, const FirstError&) -> Result<media::MediumMap> {
        CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(set, set.device(0)));
        CAPSTAN_ASSIGN_OR_RETURN(media::MediumMap map, media::ReadMap(*source));
        CAPSTAN_RETURN_IF_ERROR(
            media::CheckMediaPassword(map.listing.header, transfer.media_password));
        return map;
      });
}

Result<media::MediaRows> InspectMedia(const Engine::Parts& parts, const BackupRequest& request,
                                      Job& job) {
  media::MediaRows rows;
  const auto inspect_row = [&](const std::vector<std::string>& targets) -> Status {
    std::vector<media::MediumState>& row = rows.emplace_back();
    for (const std::string& target : targets) {
      TransferRequest one = request.transfer;
      one.targets = {target};
      one.block_size.reset();  // of what is written
      CAPSTAN_ASSIGN_OR_RETURN(auto state, InspectMedium(parts, one, request.media_use, job));
      row.push_back(std::move(state));
    }
    return OkStatus();
  };
  CAPSTAN_RETURN_IF_ERROR(inspect_row(request.transfer.targets));
  for (const auto& mirror : request.mirrors) {
    CAPSTAN_RETURN_IF_ERROR(inspect_row(mirror));
  }
  return rows;
}

Status CheckUnchanged(OpenSet& set, const std::vector<ExpectedMedium>& expected,
                      const Engine::Parts& parts, Job& job) {
  const auto timeout = parts.settings.timeouts.device;
  return RunWatched(job, set, timeout, [&](const FirstError& error) -> Status {
    for (std::size_t i = 0; i < set.device_count(); ++i) {
      if (set.hard_filemarks()) {
        CAPSTAN_RETURN_IF_ERROR(TapeFamily(set, set.device(i), error)
                                    .CheckUnchanged(expected[i].header, expected[i].append));
        continue;
      }
      CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(set, set.device(i)));
      CAPSTAN_ASSIGN_OR_RETURN(const media::MediumListing listing, media::ReadListing(*source));
      if (listing.append != expected[i].append) {
        return SqlError(3201, set.device(i).target(), OsErrorText(EBUSY))
            .WithOsError(EBUSY)
            .WithHint("another backup has changed the medium meanwhile; run the statement again");
      }
    }
    return OkStatus();
  });
}

Status CopySets(OpenSet& set, const TransferRequest& targets,
                const std::vector<ExpectedMedium>& expected, const Engine::Parts& parts, Job& job) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto old,
                           OpenForReading(parts, targets, [&job] { return job.cancelled(); }));
  CAPSTAN_RETURN_IF_ERROR(CheckUnchanged(*old, expected, parts, job));
  const auto timeout = parts.settings.timeouts.device;
  const auto copy = [&](const FirstError&) -> Status {
    for (std::size_t i = 0; i < set.device_count(); ++i) {
      CAPSTAN_RETURN_IF_ERROR(CopyMedium(*old, set, i, expected[i].append.offset));
    }
    return OkStatus();
  };
  // Both sets are watched: a device of either may stall.
  const auto watched = [&](const FirstError&) { return RunWatched(job, *old, timeout, copy); };
  CAPSTAN_RETURN_IF_ERROR(RunWatched(job, set, timeout, watched));
  return old->Close();
}

Result<SetPlace> FindSet(OpenSet& set, DeviceChannel& channel, std::uint16_t position,
                         const FirstError& error) {
  SetPlace found;
  if (set.hard_filemarks() && set.of_plugin()) {
    CAPSTAN_ASSIGN_OR_RETURN(found.place, TapeFamily(set, channel, error).FindSet(position));
    return found;
  }
  if (position <= 1 || !set.random_access() || set.removable()) {
    return found;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(set, channel));
  const Result<media::MediumListing> listing = media::ReadListing(*source);
  if (!listing.ok()) {
    // Reading through the medium finds the words, unless the device itself has failed.
    return IsAboutContents(listing.status()) ? Result<SetPlace>(found) : listing.status();
  }
  for (const media::SetListing& each : listing->sets) {
    if (each.set.position == position) {
      found.offset = each.set_offset;
    }
  }
  return found;
}

media::MediaRows NewMedia(const BackupRequest& request) {
  media::MediaRows rows;
  const auto add_row = [&](const std::vector<std::string>& targets) {
    std::vector<media::MediumState>& row = rows.emplace_back();
    for (const std::string& target : targets) {
      row.push_back({.target = target, .exists = false, .failure = {}, .listing = {}});
    }
  };
  add_row(request.transfer.targets);
  std::for_each(request.mirrors.begin(), request.mirrors.end(), add_row);
  return rows;
}

std::uint32_t BlockSizeMax(const media::MediaPlan& plan) {
  constexpr std::uint32_t kSmallest = 512;
  std::uint32_t block_size = 65'536;
  for (const media::MediaPlan::Family& family : plan.families) {
    const auto& append = family.mirrors.front().append;
    if (!append || append->form.hard_filemarks) {
      continue;
    }
    const std::uint32_t physical = append->form.filemark_size();
    while (block_size > kSmallest &&
           (append->offset % block_size != 0 || physical % block_size != 0)) {
      block_size /= 2;
    }
  }
  return block_size;
}

}  // namespace capstan::engine
