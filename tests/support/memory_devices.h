// MemoryDevices: a DeviceProvider whose media live in memory. Every set is served by a real virtual
// device client over a real rendezvous socket, so the engine takes the same road as with agents.
//
// Media behave as the disk plugin's do: what is being written or appended is invisible until
// Complete, Recover finishes or undoes it. A medium whose appending has not been settled takes no
// other append (EBUSY), but may be replaced. Of a new medium that was begun with `keep`, or whose
// agent died, as much is left as was written: `resume` goes on with it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/device_provider.h"
#include "server/messages/messages.h"
#include "tests/support/device_client.h"
#include "vdi/base/guid.h"
#include "vdi/base/mutex.h"
#include "vdi/rendezvous.h"

namespace capstan::test {

// A planned fault, which a test may change while clients consult it. Locked before and after each
// call: what a fault writes is seen by whoever assigns the next one (ThreadSanitizer cannot see the
// order that the two mappings of a segment give).
class PlannedFault {
 public:
  using Function =
      std::function<vdi::CompletionCode(std::size_t device, const vdi::ClientCommand& command)>;

  PlannedFault& operator=(Function function) {
    MutexLock lock(mutex_);
    function_ = std::make_shared<const Function>(std::move(function));
    return *this;
  }
  vdi::CompletionCode operator()(std::size_t device, const vdi::ClientCommand& command) {
    std::shared_ptr<const Function> function;  // shared: an assignment may come in mid-call
    {
      MutexLock lock(mutex_);
      function = function_;
    }
    if (function == nullptr || !*function) {
      return vdi::CompletionCode::kSuccess;
    }
    const vdi::CompletionCode code = (*function)(device, command);
    MutexLock lock(mutex_);
    return code;
  }

 private:
  Mutex mutex_;
  std::shared_ptr<const Function> function_ CAPSTAN_GUARDED_BY(mutex_);
};

class MemoryDevices final : public engine::DeviceProvider {
 public:
  using Bytes = std::vector<std::byte>;

  explicit MemoryDevices(const std::string& socket_path) {
    auto rendezvous = vdi::Rendezvous::Listen({.path = socket_path});
    CAPSTAN_CHECK(rendezvous.ok());
    rendezvous_ = std::move(rendezvous).value();
  }

  // Consulted before a command is executed; anything but success ends the command with that code.
  // `device` counts from 0 in the order of the statement.
  PlannedFault fault;
  // What Stat says is left.
  std::uint64_t free_bytes = UINT64_MAX;
  // What Resumes says. `keep` and `resume` are obeyed in any case.
  bool resumes = false;
  // What ErrorDetail says.
  std::string detail;
  // What Open, Recover and Stat answer, unless OK.
  Status open_answer;
  Status recover_answer;
  Status stat_answer;
  // Called at the beginning of Recover.
  std::function<void()> on_recover;

  Result<engine::ProvidedSet> Open(const engine::DeviceSetRequest& request,
                                   Deadline deadline) override {
    CAPSTAN_RETURN_IF_ERROR(open_answer);
    auto client = std::make_unique<Client>();
    for (const auto& target : request.targets) {
      auto medium = request.resume ? Resume(request, target) : Prepare(request, target);
      CAPSTAN_RETURN_IF_ERROR(medium.status());
      client->committed.push_back(request.mode == engine::OpenMode::kAppend ? (*medium)->size()
                                                                            : std::size_t{0});
      client->resumed = request.resume;
      client->ends.push_back(0);
      client->media.push_back(*medium);
      client->targets.push_back(target);
    }
    const std::string name = Guid::Random().ToString();
    vdi::DeviceSetConfig wishes;
    wishes.device_count = static_cast<std::uint32_t>(request.targets.size());
    wishes.features = vdi::feature::kLikeDisk | vdi::feature::kRequestComplete;
    client->client =
        std::make_unique<DeviceClient>(rendezvous_->path(), name, wishes, Handlers(client.get()));
    CAPSTAN_RETURN_IF_ERROR(client->client->created());
    engine::ProvidedSet provided;
    provided.device_names = client->client->device_names();
    provided.agent = "memory";
    last_client_ = client.get();
    clients_.push_back(std::move(client));
    CAPSTAN_ASSIGN_OR_RETURN(provided.set, rendezvous_->Open(name, deadline));
    return provided;
  }

  bool Resumes(const std::string& /*device_class*/,
               const engine::DeviceTarget& /*target*/) override {
    return resumes;
  }

  Status Recover(const std::string&, const engine::DeviceTarget& target,
                 engine::RecoverAction action, Deadline) override {
    ++recovered;
    if (on_recover) {
      on_recover();
    }
    CAPSTAN_RETURN_IF_ERROR(recover_answer);
    MutexLock lock(mutex_);
    const auto partial = partial_.find(target.token);
    if (partial != partial_.end()) {
      if (action == engine::RecoverAction::kCommit) {
        partial->second.bytes->resize(std::min(partial->second.end, partial->second.bytes->size()));
        Publish(partial->second, target);
      }
      partial_.erase(partial);
      return OkStatus();
    }
    if (const auto done = appended_.find(target.token);
        done != appended_.end() && action == engine::RecoverAction::kDiscard) {
      if (media_[target.name] == done->second.appended) {
        media_[target.name] = done->second.before;
      }
      appended_.erase(done);
    }
    return OkStatus();
  }

  Result<engine::MediumStat> Stat(const std::string&, const engine::DeviceTarget& target,
                                  Deadline) override {
    CAPSTAN_RETURN_IF_ERROR(stat_answer);
    const auto found = medium(target.name);
    return engine::MediumStat{.exists = found != nullptr,
                              .size_bytes = found == nullptr ? 0 : found->size(),
                              .free_bytes = free_bytes};
  }

  Status Remove(const std::string&, const engine::DeviceTarget& target, Deadline) override {
    MutexLock lock(mutex_);
    media_.erase(target.name);
    return OkStatus();
  }

  std::string ErrorDetail(const std::string&, const std::string&) override { return detail; }

  // The committed medium of that name, or null. Not while a set works on it.
  std::shared_ptr<Bytes> medium(const std::string& name) {
    MutexLock lock(mutex_);
    const auto found = media_.find(name);
    return found == media_.end() ? nullptr : found->second;
  }
  void Put(const std::string& name, Bytes bytes) {
    MutexLock lock(mutex_);
    media_[name] = std::make_shared<Bytes>(std::move(bytes));
  }
  std::size_t partial_count() {
    MutexLock lock(mutex_);
    return partial_.size();
  }
  // What is being written under that name, or was left of it; null if nothing is. Not while a set
  // works on it.
  std::shared_ptr<Bytes> partial(const std::string& name) {
    MutexLock lock(mutex_);
    const auto found = std::find_if(partial_.begin(), partial_.end(),
                                    [&](const auto& one) { return one.second.target == name; });
    return found == partial_.end() ? nullptr : found->second.bytes;
  }
  // Ends the client of the set that was opened last, as the death of an agent does.
  void AbortLastClient() {
    {
      MutexLock lock(mutex_);
      for (const engine::DeviceTarget& target : last_client_->targets) {
        if (const auto left = partial_.find(target.token); left != partial_.end()) {
          left->second.kept = true;
        }
      }
    }
    last_client_->client->set().SignalAbort();
  }

  std::atomic<int> recovered{0};

 private:
  struct Client {
    std::vector<std::shared_ptr<Bytes>> media;
    std::vector<engine::DeviceTarget> targets;
    std::vector<std::size_t> committed;    // bytes that an append must not touch
    bool resumed = false;                  // goes on with what was left
    std::vector<std::size_t> ends;         // of the highest write
    std::unique_ptr<DeviceClient> client;  // last: its threads use the rest
  };
  // What was begun and is neither committed nor discarded.
  struct Partial {
    std::string target;
    std::shared_ptr<Bytes> bytes;   // of an append: all of the medium
    std::shared_ptr<Bytes> before;  // of an append: the medium that it began with; else null
    bool kept = false;              // outlives the end of its set
    std::size_t end = SIZE_MAX;     // of one that was gone on with, as of the last flush
  };
  struct Appended {
    std::shared_ptr<Bytes> before;
    std::shared_ptr<Bytes> appended;
  };

  void Publish(const Partial& partial, const engine::DeviceTarget& target)
      CAPSTAN_REQUIRES(mutex_) {
    media_[target.name] = partial.bytes;
    if (partial.before != nullptr) {
      appended_[target.token] = {partial.before, partial.bytes};
    }
  }

  static Status OpenError(const engine::DeviceTarget& target, int os_error) {
    return SqlError(3201, target.name, OsErrorText(os_error)).WithOsError(os_error);
  }

  Result<std::shared_ptr<Bytes>> Resume(const engine::DeviceSetRequest& request,
                                        const engine::DeviceTarget& target)
      CAPSTAN_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto left = partial_.find(target.token);
    if (left == partial_.end() || left->second.target != target.name || !left->second.kept ||
        left->second.before != nullptr) {
      return OpenError(target, ENOENT);
    }
    if (request.mode == engine::OpenMode::kCreate && media_.count(target.name) == 1) {
      return OpenError(target, EEXIST);
    }
    // A copy: the client that has left it may be about to carry out its last command.
    left->second.bytes = std::make_shared<Bytes>(*left->second.bytes);
    left->second.kept = request.keep;
    left->second.end = SIZE_MAX;
    return left->second.bytes;
  }

  Result<std::shared_ptr<Bytes>> Prepare(const engine::DeviceSetRequest& request,
                                         const engine::DeviceTarget& target)
      CAPSTAN_EXCLUDES(mutex_) {
    const engine::OpenMode mode = request.mode;
    MutexLock lock(mutex_);
    const auto found = media_.find(target.name);
    const bool existing = mode == engine::OpenMode::kRead || mode == engine::OpenMode::kAppend;
    if (existing && found == media_.end()) {
      return OpenError(target, ENOENT);
    }
    if (mode == engine::OpenMode::kRead) {
      return found->second;
    }
    if (mode == engine::OpenMode::kCreate && found != media_.end()) {
      return OpenError(target, EEXIST);
    }
    Partial partial{.target = target.name,
                    .bytes = std::make_shared<Bytes>(),
                    .before = nullptr,
                    .kept = request.keep};
    if (mode == engine::OpenMode::kAppend) {
      for (const auto& [token, other] : partial_) {
        if (other.target == target.name) {
          return OpenError(target, EBUSY);
        }
      }
      partial.before = found->second;
      *partial.bytes = *found->second;
    }
    return (partial_[target.token] = std::move(partial)).bytes;
  }

  DeviceHandlers Handlers(Client* client) {
    const auto with_fault = [this](auto body) {
      return [this, body](std::size_t device, const vdi::ClientCommand& command) -> Outcome {
        const auto code = fault(device, command);
        return code != vdi::CompletionCode::kSuccess ? Outcome{.code = code}
                                                     : body(device, command);
      };
    };
    DeviceHandlers handlers;
    handlers.read =
        with_fault([this, client](std::size_t device, const vdi::ClientCommand& command) {
          MutexLock lock(mutex_);
          const Bytes& bytes = *client->media[device];
          const auto at = std::min(static_cast<std::size_t>(command.position), bytes.size());
          const std::size_t count = std::min<std::size_t>(bytes.size() - at, command.size);
          std::copy_n(bytes.data() + at, count, command.buffer);
          return Outcome{.code = count == command.size ? vdi::CompletionCode::kSuccess
                                                       : vdi::CompletionCode::kHandleEof,
                         .bytes = static_cast<std::uint32_t>(count)};
        });
    handlers.write =
        with_fault([this, client](std::size_t device, const vdi::ClientCommand& command) {
          MutexLock lock(mutex_);
          Bytes& bytes = *client->media[device];
          if (static_cast<std::size_t>(command.position) < client->committed[device]) {
            return Outcome{.code = vdi::CompletionCode::kWriteFault};
          }
          const auto end = static_cast<std::size_t>(command.position) + command.size;
          bytes.resize(std::max(bytes.size(), end));
          std::memcpy(bytes.data() + command.position, command.buffer, command.size);
          client->ends[device] = std::max(client->ends[device], end);
          return Outcome{.bytes = command.size};
        });
    handlers.flush = with_fault([this, client](std::size_t device, const vdi::ClientCommand&) {
      MutexLock lock(mutex_);
      const auto partial = partial_.find(client->targets[device].token);
      if (client->resumed && partial != partial_.end()) {
        partial->second.end = client->ends[device];
      }
      return Outcome{};
    });
    handlers.complete = with_fault([this, client](std::size_t device, const vdi::ClientCommand&) {
      MutexLock lock(mutex_);
      const engine::DeviceTarget& target = client->targets[device];
      const auto partial = partial_.find(target.token);
      if (partial != partial_.end()) {
        if (client->resumed) {
          partial->second.bytes->resize(client->ends[device]);
        }
        Publish(partial->second, target);
        partial_.erase(partial);
      }
      return Outcome{};
    });
    handlers.other = with_fault([client](std::size_t device, const vdi::ClientCommand& command) {
      if (command.code == vdi::CommandCode::kSetPosition) {
        return Outcome{.position = static_cast<std::int64_t>(client->media[device]->size())};
      }
      return Outcome{.code = command.code == vdi::CommandCode::kClearError
                                 ? vdi::CompletionCode::kSuccess
                                 : vdi::CompletionCode::kNotSupported};
    });
    return handlers;
  }

  // Held while bytes are copied as well: the order that the rings give to clients and test goes
  // through memory that is mapped twice, where ThreadSanitizer does not see it.
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Bytes>> media_ CAPSTAN_GUARDED_BY(mutex_);  // by target
  std::map<std::string, Partial> partial_ CAPSTAN_GUARDED_BY(mutex_);               // by token
  std::map<std::string, Appended> appended_ CAPSTAN_GUARDED_BY(mutex_);             // by token
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
  std::vector<std::unique_ptr<Client>> clients_;
  Client* last_client_ = nullptr;
};

}  // namespace capstan::test
