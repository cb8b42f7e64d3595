#include "server/coordinator/agent_directory.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "vdi/base/log.h"

namespace capstan::coordinator {
namespace {

// How often a wait asks whether it was cancelled.
constexpr std::chrono::milliseconds kCancelPoll{100};
// Reports of devices that are long closed make room for new ones.
constexpr std::size_t kReportsMax = 1024;
// Names that are remembered of agents that are gone, and that totals are kept for.
constexpr std::size_t kNamesMax = 64;

std::string WhatOf(const Order& order) {
  if (const auto* open = std::get_if<OpenSetOrder>(&order)) {
    return fmt::format("the order to open device set '{}'", open->set_name);
  }
  if (const auto* close = std::get_if<CloseSetOrder>(&order)) {
    return fmt::format("the order to close device set '{}'", close->set_name);
  }
  if (const auto* stat = std::get_if<StatOrder>(&order)) {
    return fmt::format("the order to look up '{}'", stat->target);
  }
  if (const auto* remove = std::get_if<RemoveOrder>(&order)) {
    return fmt::format("the order to remove '{}'", remove->target);
  }
  return fmt::format("the order to recover '{}'", std::get<RecoverOrder>(order).target);
}

// The names that both would be asked to open, in words; empty if there are none.
std::string SharedNames(const AgentHello& one, const AgentInfo& other) {
  const auto shared = std::ranges::find_first_of(one.schemes, other.schemes);
  return shared != one.schemes.end()                    ? fmt::format("names with {}://", *shared)
         : one.schemes.empty() && other.schemes.empty() ? "plain names"
                                                        : "";
}

Deadline::Clock::time_point NextLook(const Patience& patience) {
  const auto when = patience.deadline.when();
  return patience.cancelled ? std::min(when, Deadline::Clock::now() + kCancelPoll) : when;
}

bool Cancelled(const Patience& patience) {
  return patience.cancelled && patience.cancelled();
}

}  // namespace

AgentDirectory::AgentDirectory(Options options)
    : options_(std::move(options)),
      lease_thread_([this](const std::stop_token& stop) noexcept { WatchLeases(stop); }) {}

AgentDirectory::~AgentDirectory() {
  Close();
}

Status AgentDirectory::CheckHello(const AgentHello& hello) const {
  if (hello.protocol_version != kAgentProtocolVersion) {
    return Error(Code::kFailedPrecondition,
                 "agent '{}' speaks version {} of the agent protocol, this server version {}",
                 hello.name, hello.protocol_version, kAgentProtocolVersion)
        .WithHint("install agent and server of the same release");
  }
  if (hello.name.empty() || hello.device_class.empty()) {
    return Error(Code::kFailedPrecondition, "an agent must state its name and its device class");
  }
  return OkStatus();
}

Status AgentDirectory::ConflictOf(const AgentHello& hello) const {
  for (const auto& [id, agent] : agents_) {
    if (agent.info.name == hello.name) {
      return Error(Code::kFailedPrecondition, "an agent named '{}' is attached already (pid {})",
                   hello.name, agent.info.pid);
    }
    const std::string shared =
        agent.info.device_class == hello.device_class ? SharedNames(hello, agent.info) : "";
    if (!shared.empty()) {
      return Error(Code::kFailedPrecondition,
                   "{} devices are served by agent '{}' already (plugin '{}', pid {}): {}",
                   hello.device_class, agent.info.name, agent.info.plugin_name, agent.info.pid,
                   shared);
    }
  }
  return OkStatus();
}

Result<AgentId> AgentDirectory::Attach(const AgentHello& hello, std::shared_ptr<AgentLink> link) {
  CAPSTAN_RETURN_IF_ERROR(CheckHello(hello));
  AgentId id = 0;
  {
    const Deadline deadline = Deadline::After(options_.takeover_wait);
    MutexLock lock(mutex_);
    for (;;) {
      if (closed_) {
        return Error(Code::kUnavailable, "the server is stopping");
      }
      Status conflict = ConflictOf(hello);
      if (conflict.ok()) {
        break;
      }
      if (deadline.passed()) {
        return conflict;
      }
      changed_.WaitUntil(mutex_, deadline.when());
    }
    id = ++last_agent_id_;
    Agent& agent = agents_[id];
    agent.info = {.id = id,
                  .name = hello.name,
                  .agent_version = hello.agent_version,
                  .plugin_name = hello.plugin_name,
                  .plugin_version = hello.plugin_version,
                  .plugin_vendor = hello.plugin_vendor,
                  .device_class = hello.device_class,
                  .schemes = hello.schemes,
                  .capabilities = hello.capabilities,
                  .device_features = hello.device_features,
                  .pid = hello.pid,
                  .attached_unix_s = std::time(nullptr)};
    gone_.erase(hello.name);
    agent.link = link;
    agent.heard = Deadline::Clock::now();
    changed_.NotifyAll();  // the lease begins
  }
  if (!link->Welcome(options_.lease)) {
    Detach(id, Error(Code::kUnavailable, "it went away before it was welcomed"));
    return Error(Code::kUnavailable, "agent '{}' went away before it was welcomed", hello.name);
  }
  {
    MutexLock lock(mutex_);
    if (Agent* agent = Find(id)) {
      agent->welcomed = true;
    }
    changed_.NotifyAll();
  }
  CAPSTAN_LOG(kInfo, "agent attach name={} class={} plugin={} version={} pid={}", hello.name,
              hello.device_class, hello.plugin_name, hello.plugin_version, hello.pid);
  if (options_.on_attached) {
    options_.on_attached();
  }
  return id;
}

AgentDirectory::Agent* AgentDirectory::Find(AgentId id) {
  const auto found = agents_.find(id);
  return found == agents_.end() ? nullptr : &found->second;
}

Status AgentDirectory::GoneError(const std::string& name, const Status& why) const {
  return Error(Code::kUnavailable, "agent '{}' is gone: {}", name, why.message());
}

std::shared_ptr<AgentLink> AgentDirectory::Remove(AgentId id, const Status& why) {
  Agent* agent = Find(id);
  if (agent == nullptr) {
    return nullptr;
  }
  CAPSTAN_LOG(kInfo, "agent detach name={} pid={} reason='{}'", agent->info.name, agent->info.pid,
              why.message());
  const Status gone = GoneError(agent->info.name, why);
  std::erase_if(orders_, [&](const auto& entry) {
    return entry.second.agent == id && entry.second.abandoned;
  });
  for (auto& [order_id, order] : orders_) {
    if (order.agent == id && !order.result) {
      order.result = OrderResult{.status = gone};
    }
  }
  for (auto& [set_name, watched] : watches_) {
    if (watched.agent == id && watched.on_gone) {
      std::exchange(watched.on_gone, nullptr)(gone);
    }
  }
  if (gone_.size() < kNamesMax || gone_.contains(agent->info.name)) {
    AgentInfo& last = gone_[agent->info.name] = agent->info;
    last.state = "Gone";
    last.gone_unix_s = std::time(nullptr);
    last.last_error = why.message();
  }
  std::shared_ptr<AgentLink> link = std::move(agent->link);
  agents_.erase(id);
  changed_.NotifyAll();
  return link;
}

void AgentDirectory::Detach(AgentId id, const Status& why) {
  std::shared_ptr<AgentLink> link;
  {
    MutexLock lock(mutex_);
    link = Remove(id, why);
  }
  if (link) {
    link->Close();
  }
}

void AgentDirectory::OnResult(AgentId id, std::uint64_t order_id, OrderResult result) {
  std::string unwanted_set;
  {
    MutexLock lock(mutex_);
    Agent* agent = Find(id);
    if (agent == nullptr) {
      return;
    }
    agent->heard = Deadline::Clock::now();
    if (!result.status.ok()) {
      agent->info.last_error = result.status.message();
    }
    const auto found = orders_.find(order_id);
    if (found == orders_.end() || found->second.agent != id || found->second.result) {
      return;
    }
    if (found->second.abandoned) {
      if (result.status.ok()) {
        unwanted_set = found->second.opens_set;
      }
      orders_.erase(found);
    } else {
      found->second.result = std::move(result);
      changed_.NotifyAll();
    }
  }
  if (!unwanted_set.empty()) {
    Post(id, CloseSetOrder{unwanted_set});
  }
}

void AgentDirectory::OnReports(AgentId id, std::vector<DeviceReport> reports) {
  MutexLock lock(mutex_);
  Agent* agent = Find(id);
  if (agent == nullptr) {
    return;
  }
  agent->heard = Deadline::Clock::now();
  for (DeviceReport& report : reports) {
    if (!report.last_error.empty()) {
      agent->info.last_error = fmt::format("{}: {}", report.target, report.last_error);
    }
    AddToTotals(agent->info, report);
    StoreReport(std::move(report));
  }
  changed_.NotifyAll();
}

// Reports count from the opening of their device, totals for good.
void AgentDirectory::AddToTotals(const AgentInfo& agent, const DeviceReport& report) {
  if (totals_.size() >= kNamesMax && !totals_.contains(agent.name)) {
    return;
  }
  AgentTotals& totals = totals_[agent.name];
  totals.device_class = agent.device_class;
  const auto found = reports_.find(report.device_name);
  static const DeviceReport kNothing{};
  const DeviceReport& before = found == reports_.end() ? kNothing : found->second.report;
  const auto grown = [](auto now, auto then) { return now > then ? now - then : 0; };
  totals.requests += grown(report.requests, before.requests);
  totals.request_time_us += grown(report.request_time_us, before.request_time_us);
  totals.medium_time_us += grown(report.medium_time_us, before.medium_time_us);
  totals.throttled_us += grown(report.throttled_us, before.throttled_us);
  totals.retries += grown(report.retries, before.retries);
  totals.stops += grown(report.stops, before.stops);
  totals.errors += grown(report.errors, before.errors);
}

void AgentDirectory::StoreReport(DeviceReport report) {
  const std::string name = report.device_name;
  if (reports_.size() >= kReportsMax && !reports_.contains(name)) {
    reports_.erase(std::min_element(reports_.begin(), reports_.end(),
                                    [](auto& a, auto& b) { return a.second.at < b.second.at; }));
  }
  reports_[name] = {std::move(report), Deadline::Clock::now()};
}

const AgentDirectory::Agent* AgentDirectory::AgentFor(const std::string& device_class,
                                                      const std::string& scheme) const {
  const Agent* found = nullptr;
  for (const auto& [id, agent] : agents_) {
    const bool fits = agent.welcomed && agent.info.device_class == device_class;
    const auto& schemes = agent.info.schemes;
    if (fits && std::ranges::find(schemes, scheme) != schemes.end()) {
      return &agent;
    }
    // A plain name that nobody else wants is for its plugin to refuse.
    if (fits && (schemes.empty() || (scheme.empty() && found == nullptr))) {
      found = &agent;
    }
  }
  return found;
}

Result<AgentInfo> AgentDirectory::WaitForAgent(const std::string& device_class,
                                               const Patience& patience,
                                               const std::string& scheme) {
  MutexLock lock(mutex_);
  for (;;) {
    if (const Agent* const agent = AgentFor(device_class, scheme)) {
      return agent->info;
    }
    if (Cancelled(patience)) {
      return Error(Code::kCancelled, "cancelled while waiting for an agent for {} devices",
                   device_class);
    }
    if (closed_ || patience.deadline.passed()) {
      return Error(Code::kUnavailable, "no agent for {} devices is attached", device_class);
    }
    changed_.WaitUntil(mutex_, NextLook(patience));
  }
}

Result<std::uint64_t> AgentDirectory::Dispatch(AgentId id, const Order& order, bool awaited) {
  std::shared_ptr<AgentLink> link;
  std::uint64_t order_id = 0;
  std::string name;
  {
    MutexLock lock(mutex_);
    const Agent* agent = Find(id);
    if (agent == nullptr) {
      return Error(Code::kUnavailable, "the agent that was to get {} is gone", WhatOf(order));
    }
    link = agent->link;
    name = agent->info.name;
    order_id = ++last_order_id_;
    const auto* open = std::get_if<OpenSetOrder>(&order);
    orders_[order_id] = {.agent = id,
                         .what = fmt::format("agent '{}' and {}", name, WhatOf(order)),
                         .opens_set = open ? open->set_name : "",
                         .abandoned = !awaited,
                         .result = {}};
  }
  if (!link->Send(order_id, order)) {
    Detach(id, Error(Code::kUnavailable, "its stream is broken"));
  }
  return order_id;
}

OrderResult AgentDirectory::Execute(AgentId id, const Order& order, const Patience& patience) {
  const auto dispatched = Dispatch(id, order, /*awaited=*/true);
  if (!dispatched.ok()) {
    return {.status = dispatched.status()};
  }
  MutexLock lock(mutex_);
  PendingOrder& pending = orders_.at(*dispatched);
  for (;;) {
    if (pending.result) {
      OrderResult result = *std::move(pending.result);
      orders_.erase(*dispatched);
      return result;
    }
    const bool cancelled = Cancelled(patience);
    if (cancelled || patience.deadline.passed()) {
      pending.abandoned = true;  // OnResult or Remove forgets it
      return {.status = cancelled ? Error(Code::kCancelled, "cancelled while waiting for {}",
                                          pending.what)
                                  : Error(Code::kDeadlineExceeded,
                                          "no answer in time while waiting for {}", pending.what)};
    }
    changed_.WaitUntil(mutex_, NextLook(patience));
  }
}

void AgentDirectory::Post(AgentId id, const Order& order) {
  [[maybe_unused]] const auto sent = Dispatch(id, order, /*awaited=*/false);
}

Result<std::unique_ptr<AgentDirectory::SetWatch>> AgentDirectory::WatchSet(
    AgentId id, const std::string& set_name, std::function<void(const Status&)> on_gone) {
  MutexLock lock(mutex_);
  if (Find(id) == nullptr) {
    return Error(Code::kUnavailable, "the agent of device set '{}' is gone", set_name);
  }
  watches_[set_name] = {.agent = id, .on_gone = std::move(on_gone)};
  return std::make_unique<SetWatch>(*this, set_name);
}

void AgentDirectory::EndWatch(const std::string& set_name) {
  MutexLock lock(mutex_);
  watches_.erase(set_name);
}

std::string AgentDirectory::WaitForDeviceError(const std::string& set_name,
                                               const std::string& device_name, Deadline deadline) {
  MutexLock lock(mutex_);
  for (;;) {
    const auto report = reports_.find(device_name);
    if (report != reports_.end() && !report->second.report.last_error.empty()) {
      return report->second.report.last_error;
    }
    const auto watched = watches_.find(set_name);
    if (watched == watches_.end() || Find(watched->second.agent) == nullptr || deadline.passed()) {
      return "";
    }
    changed_.WaitUntil(mutex_, deadline.when());
  }
}

std::vector<AgentInfo> AgentDirectory::List() const {
  MutexLock lock(mutex_);
  const TimePoint now = Deadline::Clock::now();
  std::vector<AgentInfo> list;
  for (const auto& [id, agent] : agents_) {
    AgentInfo& info = list.emplace_back(agent.info);
    const bool serving = std::any_of(watches_.begin(), watches_.end(), [&](const auto& entry) {
      return entry.second.agent == info.id;
    });
    info.state = now - agent.heard > options_.lease / 2 ? "Silent" : serving ? "Serving" : "Idle";
  }
  return list;
}

std::vector<AgentInfo> AgentDirectory::ListGone() const {
  MutexLock lock(mutex_);
  std::vector<AgentInfo> list;
  for (const auto& [name, agent] : gone_) {
    list.push_back(agent);
  }
  return list;
}

std::map<std::string, AgentTotals> AgentDirectory::Totals() const {
  MutexLock lock(mutex_);
  return totals_;
}

std::optional<DeviceReport> AgentDirectory::FindReport(const std::string& device_name) const {
  MutexLock lock(mutex_);
  const auto found = reports_.find(device_name);
  if (found == reports_.end()) {
    return std::nullopt;
  }
  return found->second.report;
}

void AgentDirectory::Close() {
  std::vector<std::shared_ptr<AgentLink>> links;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    while (!agents_.empty()) {
      links.push_back(Remove(agents_.begin()->first, Error(Code::kUnavailable, "server stops")));
    }
    lease_thread_.request_stop();
    changed_.NotifyAll();
  }
  for (const auto& link : links) {
    link->Close();
  }
}

std::vector<AgentInfo> AgentDirectory::Expired(TimePoint& next) const {
  const TimePoint now = Deadline::Clock::now();
  next = now + options_.lease;
  std::vector<AgentInfo> expired;
  for (const auto& [id, agent] : agents_) {
    const TimePoint expiry = agent.heard + options_.lease;
    if (expiry <= now) {
      expired.push_back(agent.info);
    } else {
      next = std::min(next, expiry);
    }
  }
  return expired;
}

void AgentDirectory::WatchLeases(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::vector<AgentInfo> lost;
    std::vector<std::shared_ptr<AgentLink>> links;
    {
      MutexLock lock(mutex_);
      TimePoint next;
      lost = Expired(next);
      for (const AgentInfo& agent : lost) {
        links.push_back(
            Remove(agent.id, Error(Code::kUnavailable, "nothing was heard of it for {} ms",
                                   options_.lease.count())));
      }
      if (lost.empty() && !closed_) {
        changed_.WaitUntil(mutex_, next);
      }
    }
    for (const auto& link : links) {
      link->Close();
    }
    for (const AgentInfo& agent : lost) {
      if (options_.on_lost) {
        options_.on_lost(agent);
      }
    }
  }
}

}  // namespace capstan::coordinator
