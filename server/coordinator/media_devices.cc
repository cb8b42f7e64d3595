#include "server/coordinator/media_devices.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "server/coordinator/served_set.h"
#include "server/engine/device_failure.h"
#include "server/messages/messages.h"
#include "vdi/base/guid.h"

namespace capstan::coordinator {
namespace {

// How often a wait at the rendezvous asks whether the job was cancelled.
constexpr std::chrono::milliseconds kCancelPoll{200};
// Agents report every second; the report of the error that just happened is under way.
constexpr std::chrono::milliseconds kErrorReportWait{1'200};

// A set is created before its order is answered; anything longer means that it is gone again.
constexpr std::chrono::seconds kCreatedSetWait{5};

constexpr std::string_view kVirtualDeviceClass = "VIRTUAL_DEVICE";
constexpr std::string_view kDiskClass = "DISK";

std::string_view PluginFor(std::string_view device_class) {
  return device_class == "URL" ? "s3" : device_class == "TAPE" ? "tape" : "disk";
}

// "s3" of "S3://bucket/key"; empty for a name without one.
std::string SchemeOf(const std::string& name) {
  std::string scheme = name.substr(0, std::min(name.find("://"), name.size()));
  if (scheme.size() == name.size()) {
    return "";
  }
  std::transform(scheme.begin(), scheme.end(), scheme.begin(), [](unsigned char sign) {
    return sign >= 'A' && sign <= 'Z' ? static_cast<char>(sign - 'A' + 'a')
                                      : static_cast<char>(sign);
  });
  return scheme;
}

Deadline Sooner(Deadline deadline, std::chrono::milliseconds wait) {
  const Deadline other = Deadline::After(wait);
  return other.when() < deadline.when() ? other : deadline;
}

// `places` are where the request's targets lie on this machine.
OpenSetOrder OrderOf(const engine::DeviceSetRequest& request,
                     const std::vector<std::string>& places) {
  OpenSetOrder order;
  order.set_name = Guid::Random().ToString();
  order.job_id = request.job_id;
  order.mode = request.mode;
  order.retain_until_unix_s = request.retain_until_unix_s;
  order.bytes_per_second_max = request.bytes_per_second_max;
  order.keep = request.keep;
  order.resume = request.resume;
  for (std::size_t i = 0; i < request.targets.size(); ++i) {
    order.devices.push_back(
        {.device_name = i == 0 ? order.set_name : fmt::format("{}-{}", order.set_name, i + 1),
         .target = places[i],
         .token = request.targets[i].token,
         .size_estimate = request.size_estimate});
  }
  return order;
}

// What the operator can do about it; the agent's own words where they say more than the number.
std::string HintFor(const Status& failure, const AgentInfo& agent,
                    const engine::DeviceSetRequest& request) {
  if (!failure.hint().empty()) {  // the plugin knows best
    return fmt::format("{}; {}", failure.message(), failure.hint());
  }
  const int os_error = failure.os_error();
  if (os_error == EACCES || os_error == EPERM) {
    return fmt::format("grant the account that runs agent '{}' (pid {}) access to it: {}",
                       agent.name, agent.pid, failure.message());
  }
  const bool creates =
      request.mode == engine::OpenMode::kCreate || request.mode == engine::OpenMode::kReplace;
  if (os_error == ENOENT && creates && !request.resume) {
    return fmt::format("the folder must exist before the backup: {}", failure.message());
  }
  if (failure.code() == Code::kUnavailable) {
    return fmt::format(
        "{}; this may pass by itself, and the agent has tried again until retry_for_s was over",
        failure.message());
  }
  return std::string(failure.message());
}

// An agent's failure to open a medium, in SQL Server's words.
Status OpenError(const OrderResult& result, const AgentInfo& agent,
                 const engine::DeviceSetRequest& request) {
  const Status& failure = result.status;
  if (failure.code() == Code::kCancelled && request.cancelled && request.cancelled()) {
    return SqlError(3204);
  }
  const std::string target = result.target.empty() ? request.targets.front().name : result.target;
  const int os_error = failure.os_error();
  const bool exists = os_error == EEXIST || failure.code() == Code::kAlreadyExists;
  if (exists && request.mode == engine::OpenMode::kCreate) {
    return SqlError(3201, target, OsErrorText(EEXIST))
        .WithOsError(EEXIST)
        .WithHint("somebody else has just put a medium there; run the statement again");
  }
  if (os_error == 0) {
    // No system call failed: the agent refused, was lost or did not answer. 995 is what SQL Server
    // prints for an operation that was broken off.
    return SqlError(3201, target, fmt::format("995({})", failure.message()))
        .WithOsError(ECANCELED)
        .WithHint(std::string(failure.hint()));
  }
  const bool repeated = std::count_if(request.targets.begin(), request.targets.end(),
                                      [&](const auto& one) { return one.name == target; }) > 1;
  return SqlError(3201, target, OsErrorText(os_error))
      .WithOsError(os_error)
      .WithHint(os_error == EBUSY && repeated ? "the statement names it more than once"
                                              : HintFor(failure, agent, request));
}

struct Need {
  std::uint32_t capabilities = 0;
  std::string_view verb;  // "the plugin cannot <verb>"
};

Need NeedOf(const engine::DeviceSetRequest& request) {
  switch (request.mode) {
    case engine::OpenMode::kRead:
      return {capability::kRead, "read media"};
    case engine::OpenMode::kAppend:
      return {capability::kRead | capability::kWrite | capability::kAppend,
              "append to media; add FORMAT or INIT, or back up to another device"};
    case engine::OpenMode::kCreate:
    case engine::OpenMode::kReplace:
      break;
  }
  if (request.resume) {
    return {capability::kRead | capability::kWrite | capability::kResume,
            "go on with a backup that was interrupted; run the statement without RESTART"};
  }
  return {capability::kWrite, "write media"};
}

Status CheckCapability(const AgentInfo& agent, const engine::DeviceSetRequest& request) {
  const Need need = NeedOf(request);
  if ((agent.capabilities & need.capabilities) == need.capabilities) {
    return OkStatus();
  }
  return SqlError(3201, request.targets.front().name, OsErrorText(EOPNOTSUPP))
      .WithOsError(EOPNOTSUPP)
      .WithHint(fmt::format("plugin '{}' of agent '{}' cannot {}", agent.plugin_name, agent.name,
                            need.verb));
}

}  // namespace

MediaDevices::MediaDevices(AgentDirectory& agents, vdi::Rendezvous& rendezvous, Options options)
    : agents_(agents), rendezvous_(rendezvous), options_(std::move(options)) {}

Result<engine::ProvidedSet> MediaDevices::Open(const engine::DeviceSetRequest& request,
                                               Deadline deadline) {
  if (request.targets.empty()) {
    return SqlError(3207);
  }
  return request.device_class == kVirtualDeviceClass ? OpenVirtualDevice(request, deadline)
                                                     : OpenMedia(request, deadline);
}

Result<std::unique_ptr<vdi::ServerDeviceSet>> MediaDevices::Meet(const std::string& set_name,
                                                                 const Patience& patience) {
  for (;;) {
    const Deadline slice =
        patience.cancelled ? Sooner(patience.deadline, kCancelPoll) : patience.deadline;
    auto set = rendezvous_.Open(set_name, slice);
    if (set.ok() || set.status().code() != Code::kNotFound || patience.deadline.passed()) {
      return set;
    }
    if (patience.cancelled && patience.cancelled()) {
      return Error(Code::kCancelled, "cancelled while waiting for device set '{}'", set_name);
    }
  }
}

Result<engine::ProvidedSet> MediaDevices::OpenVirtualDevice(const engine::DeviceSetRequest& request,
                                                            Deadline deadline) {
  const std::string& name = request.targets.front().name;
  if (request.bytes_per_second_max != 0) {
    return SqlError(3032, "maxrate")
        .WithHint("a virtual device moves as fast as the program that serves it");
  }
  if (request.resume) {
    return SqlError(3201, name, OsErrorText(EOPNOTSUPP))
        .WithOsError(EOPNOTSUPP)
        .WithHint("a virtual device cannot go on with a backup that was interrupted");
  }
  auto set = Meet(name, {.deadline = Sooner(deadline, options_.virtual_device_wait),
                         .cancelled = request.cancelled});
  if (!set.ok()) {
    if (set.status().code() == Code::kCancelled) {
      return SqlError(3204);
    }
    return engine::VirtualDeviceOpenError(engine::kInitializeOrigin, name,
                                          engine::CauseOf(set.status()),
                                          engine::kInitializeVirtualDevice)
        .WithHint(std::string(set.status().hint()));
  }
  engine::ProvidedSet provided{.set = std::move(set).value(), .device_names = {}, .agent = {}};
  for (const engine::DeviceTarget& target : request.targets) {
    provided.device_names.push_back(target.name);
  }
  return provided;
}

Result<std::string> MediaDevices::PlaceOf(const std::string& device_class,
                                          const std::string& name) const {
  if (device_class != kDiskClass) {
    return name;
  }
  auto place = options_.drive_map.Map(name);
  if (place.ok()) {
    return place;
  }
  return SqlError(3201, name, kPathNotFound)
      .WithOsError(ENOENT)
      .WithHint(std::string(place.status().hint()));
}

Result<AgentInfo> MediaDevices::AgentFor(const std::string& device_class, const std::string& name,
                                         const Patience& patience) {
  const std::string scheme = SchemeOf(name);
  auto agent = agents_.WaitForAgent(device_class, patience, scheme);
  if (agent.ok()) {
    return agent;
  }
  if (agent.status().code() == Code::kCancelled) {
    return SqlError(3204);
  }
  const bool others = agents_.WaitForAgent(device_class, {.deadline = Deadline::Now()}).ok();
  return SqlError(65001, device_class)
      .WithHint(others ? fmt::format("none of those that are attached serves names that begin with "
                                     "{}://; start one: capstan-agent --plugin /path/to/plugin.so "
                                     "--server {}",
                                     scheme, options_.server_address)
                       : fmt::format("start one: capstan-agent --plugin {} --server {}",
                                     PluginFor(device_class), options_.server_address));
}

Result<AgentInfo> MediaDevices::AgentForAll(const engine::DeviceSetRequest& request,
                                            const Patience& patience) {
  CAPSTAN_ASSIGN_OR_RETURN(AgentInfo agent,
                           AgentFor(request.device_class, request.targets.front().name, patience));
  for (const engine::DeviceTarget& target : request.targets) {
    CAPSTAN_ASSIGN_OR_RETURN(const AgentInfo its,
                             AgentFor(request.device_class, target.name, patience));
    if (its.id != agent.id) {
      return SqlError(3201, target.name, OsErrorText(EOPNOTSUPP))
          .WithOsError(EOPNOTSUPP)
          .WithHint(fmt::format("agent '{}' serves it, and agent '{}' serves '{}': one statement "
                                "writes to the media of one agent",
                                its.name, agent.name, request.targets.front().name));
    }
  }
  return agent;
}

Result<engine::ProvidedSet> MediaDevices::OpenMedia(const engine::DeviceSetRequest& request,
                                                    Deadline deadline) {
  CAPSTAN_ASSIGN_OR_RETURN(const AgentInfo agent,
                           AgentForAll(request, {.deadline = Sooner(deadline, options_.agent_wait),
                                                 .cancelled = request.cancelled}));
  CAPSTAN_RETURN_IF_ERROR(CheckCapability(agent, request));
  std::vector<std::string> places;
  for (const engine::DeviceTarget& target : request.targets) {
    CAPSTAN_ASSIGN_OR_RETURN(std::string place, PlaceOf(request.device_class, target.name));
    places.push_back(std::move(place));
  }
  const OpenSetOrder order = OrderOf(request, places);
  const Patience patience{.deadline = deadline, .cancelled = request.cancelled};
  OrderResult result = agents_.Execute(agent.id, order, patience);
  if (!result.status.ok()) {
    agents_.Post(agent.id, CloseSetOrder{order.set_name});
    // The agent names the place, the requester knows it by the statement's name.
    const auto place = std::find(places.begin(), places.end(), result.target);
    if (place != places.end()) {
      result.target = request.targets[static_cast<std::size_t>(place - places.begin())].name;
    }
    return OpenError(result, agent, request);
  }
  auto provided = TakeSet(agent, order, patience);
  if (!provided.ok()) {
    agents_.Post(agent.id, CloseSetOrder{order.set_name});
    return OpenError({.status = provided.status()}, agent, request);
  }
  return provided;
}

Result<engine::ProvidedSet> MediaDevices::TakeSet(const AgentInfo& agent, const OpenSetOrder& order,
                                                  const Patience& patience) {
  CAPSTAN_ASSIGN_OR_RETURN(
      auto set, Meet(order.set_name, {.deadline = Sooner(patience.deadline, kCreatedSetWait),
                                      .cancelled = patience.cancelled}));
  engine::ProvidedSet provided;
  CAPSTAN_ASSIGN_OR_RETURN(provided.set, ServedSet::Create(agents_, agent.id, std::move(set)));
  for (const OpenSetOrder::Device& device : order.devices) {
    provided.device_names.push_back(device.device_name);
  }
  provided.agent = agent.name;
  return provided;
}

bool MediaDevices::Resumes(const std::string& device_class, const engine::DeviceTarget& target) {
  constexpr std::uint32_t kNeeded = capability::kRead | capability::kResume | capability::kRecover;
  if (device_class == kVirtualDeviceClass) {
    return false;  // what becomes of its media is the vendor's own matter
  }
  // Without a wait: whoever asks can do without.
  const auto agent =
      agents_.WaitForAgent(device_class, {.deadline = Deadline::Now()}, SchemeOf(target.name));
  return agent.ok() && (agent->capabilities & kNeeded) == kNeeded;
}

Status MediaDevices::Recover(const std::string& device_class, const engine::DeviceTarget& target,
                             engine::RecoverAction action, Deadline deadline) {
  if (device_class == kVirtualDeviceClass) {
    return OkStatus();  // a vendor's program settles its media by itself when the set ends
  }
  // An agent that is not there is not waited for as long as one that is at work: whoever settles
  // media comes back when it attaches.
  CAPSTAN_ASSIGN_OR_RETURN(
      const AgentInfo agent,
      AgentFor(device_class, target.name, {.deadline = Sooner(deadline, options_.agent_wait)}));
  if ((agent.capabilities & capability::kRecover) == 0) {
    return OkStatus();  // it keeps no constructions: what was completed stands, the rest is gone
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::string place, PlaceOf(device_class, target.name));
  const RecoverOrder order{.target = place, .token = target.token, .action = action};
  Status recovered = agents_.Execute(agent.id, order, {.deadline = deadline}).status;
  // Where not even the folder exists, nothing was begun: the backup failed for that very reason.
  const bool nothing_there =
      action == engine::RecoverAction::kDiscard && recovered.os_error() == ENOENT;
  return nothing_there ? OkStatus() : std::move(recovered);
}

Result<engine::MediumStat> MediaDevices::Stat(const std::string& device_class,
                                              const engine::DeviceTarget& target,
                                              Deadline deadline) {
  if (device_class == kVirtualDeviceClass) {
    return engine::MediumStat{};  // nobody can ask a program that has not opened its device yet
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      const AgentInfo agent,
      AgentFor(device_class, target.name, {.deadline = Sooner(deadline, options_.agent_wait)}));
  CAPSTAN_ASSIGN_OR_RETURN(const std::string place, PlaceOf(device_class, target.name));
  OrderResult result = agents_.Execute(agent.id, StatOrder{place}, {.deadline = deadline});
  if (!result.status.ok()) {
    result.target = target.name;
    return OpenError(result, agent, {.device_class = device_class, .targets = {target}});
  }
  return result.stat;
}

Status MediaDevices::Remove(const std::string& device_class, const engine::DeviceTarget& target,
                            Deadline deadline) {
  CAPSTAN_ASSIGN_OR_RETURN(
      const AgentInfo agent,
      AgentFor(device_class, target.name, {.deadline = Sooner(deadline, options_.agent_wait)}));
  CAPSTAN_ASSIGN_OR_RETURN(const std::string place, PlaceOf(device_class, target.name));
  Status removed = agents_.Execute(agent.id, RemoveOrder{place}, {.deadline = deadline}).status;
  return removed.os_error() == ENOENT ? OkStatus() : std::move(removed);
}

std::string MediaDevices::ErrorHint(const std::string& device_name) {
  const auto report = agents_.FindReport(device_name);
  if (!report) {
    return "";
  }
  const bool told_by_detail = report->last_error_text == report->last_error;
  if (report->last_error_hint.empty()) {
    return told_by_detail || !engine::TransferHint(report->last_error).empty()
               ? ""
               : report->last_error_text;
  }
  return told_by_detail ? report->last_error_hint
                        : fmt::format("{}; {}", report->last_error_text, report->last_error_hint);
}

std::string MediaDevices::ErrorDetail(const std::string& set_name, const std::string& device_name) {
  return agents_.WaitForDeviceError(set_name, device_name, Deadline::After(kErrorReportWait));
}

}  // namespace capstan::coordinator
