#include "server/coordinator/job_recorder.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::coordinator {
namespace {

// How often the record of a running job is brought up to date.
constexpr std::chrono::seconds kWriteInterval{5};

std::int64_t NowUnixS() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct Range {
  int first;
  int last;
  std::string_view source;
};
constexpr Range kSources[] = {
    {701, 701, "memory"},          {911, 911, "database"},      {3043, 3043, "database"},
    {3095, 3098, "media set"},     {3101, 3159, "database"},    {3182, 3189, "backup set"},
    {3201, 3204, "backup device"}, {3208, 3208, "backup set"},  {3210, 3232, "media set"},
    {3234, 3234, "database"},      {3239, 3249, "media set"},   {3254, 3256, "backup set"},
    {3257, 3257, "database"},      {3258, 3287, "media set"},   {4030, 4038, "media set"},
    {4208, 4208, "database"},      {15151, 15240, "key"},       {18210, 18210, "backup device"},
    {33111, 33111, "key"},         {65001, 65001, "agent"},     {65003, 65003, "backup device"},
    {65004, 65004, "backup set"},  {65005, 65006, "database"},  {65007, 65009, "media set"},
    {65010, 65010, "key"},         {65013, 65013, "media set"},
};

}  // namespace

std::string_view SourceOfError(int number) {
  const auto* const found = std::find_if(
      std::begin(kSources), std::end(kSources),
      [&](const Range& range) { return number >= range.first && number <= range.last; });
  return found == std::end(kSources) ? "server" : found->source;
}

JobRecorder::JobRecorder(catalog::Catalog& catalog, engine::JobObserver& observer,
                         catalog::JobHistory job)
    : catalog_(catalog),
      observer_(observer),
      job_(std::move(job)),
      written_(std::chrono::steady_clock::now()) {
  job_.start_unix_s = NowUnixS();
  job_.progress_unix_s = job_.start_unix_s;
  if (job_.job_guid.is_zero()) {
    job_.job_guid = Guid::Random();  // until the job tells its own
  }
  const auto instance_id = catalog_.BeginJobHistory(job_);
  if (instance_id.ok()) {
    instance_id_ = *instance_id;
  } else {
    CAPSTAN_LOG(kWarning, "unable to record a job: {}", instance_id.status().message());
  }
}

void JobRecorder::OnMessage(int number, const std::string& text) {
  job_.message_number = number;
  job_.description = text;
  observer_.OnMessage(number, text);
}

void JobRecorder::OnProgress(const engine::JobSnapshot& snapshot) {
  job_.job_guid = snapshot.job_guid;
  job_.percent_complete = static_cast<int>(snapshot.percent_complete());
  job_.progress_unix_s = NowUnixS();
  const auto now = std::chrono::steady_clock::now();
  if (now - written_ >= kWriteInterval) {
    written_ = now;
    Write();
  }
  observer_.OnProgress(snapshot);
}

void JobRecorder::Finish(const Status& status) {
  job_.end_unix_s = NowUnixS();
  if (status.ok()) {
    job_.outcome = catalog::JobOutcome::kSucceeded;
    job_.percent_complete = 100;
    job_.progress_unix_s = job_.end_unix_s;
  } else {
    const MessageInfo* const info = FindMessage(status.reason());
    job_.outcome = status.code() == Code::kCancelled ? catalog::JobOutcome::kCancelled
                                                     : catalog::JobOutcome::kFailed;
    job_.message_number = status.reason();
    job_.severity = info != nullptr ? info->severity : 16;
    const int usual_state = info != nullptr ? info->state : 1;
    job_.state = status.state() != 0 ? status.state() : usual_state;
    job_.source = SourceOfError(status.reason());
    job_.description = status.message();
    job_.possible_reasons = status.hint();
  }
  Write();
}

void JobRecorder::Write() {
  if (!instance_id_.has_value()) {
    return;
  }
  const Status written = catalog_.UpdateJobHistory(*instance_id_, job_);
  if (!written.ok()) {
    CAPSTAN_LOG(kWarning, "unable to record a job: {}", written.message());
  }
}

}  // namespace capstan::coordinator
