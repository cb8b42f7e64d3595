#include "plugins/s3/ranged_reader.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace capstan::s3 {

// One reading, which may go across objects.
struct RangedReader::Pieces {
  std::mutex mutex;
  std::size_t left = 0;  // guarded by mutex
  Failure failure;       // guarded by mutex: the first
  Done done;

  void OnAnswer(ObjectAnswer answer) {
    {
      const std::lock_guard lock(mutex);
      if (answer.failure.os_error == ESTALE) {
        answer.failure.message += ": the medium was replaced while it was read";
      }
      if (!failure.failed()) {
        failure = std::move(answer.failure);
      }
      if (--left > 0) {
        return;
      }
    }
    done(std::move(failure));
  }
};

void RangedReader::Start(std::int64_t position, std::span<std::byte> target, Done done) {
  std::vector<ObjectRequest> requests;
  for (const MediumObject& object : medium_.objects) {
    const std::int64_t object_end = object.begin + object.size;
    if (target.empty() || position >= object_end) {
      continue;
    }
    const std::size_t count =
        std::min(target.size(), static_cast<std::size_t>(object_end - position));
    const std::int64_t from = position - object.begin;
    requests.push_back(
        {.method = "GET",
         .key = object.key,
         .headers = {{"Range", "bytes=" + std::to_string(from) + "-" +
                                   std::to_string(from + static_cast<std::int64_t>(count) - 1)},
                     {"If-Match", object.etag}},
         .target = target.first(count)});
    position += static_cast<std::int64_t>(count);
    target = target.subspan(count);
  }
  const auto pieces = std::make_shared<Pieces>();
  pieces->left = requests.size();
  pieces->done = std::move(done);
  for (ObjectRequest& request : requests) {
    store_.client().Start(std::move(request),
                          [pieces](ObjectAnswer answer) { pieces->OnAnswer(std::move(answer)); });
  }
}

}  // namespace capstan::s3
