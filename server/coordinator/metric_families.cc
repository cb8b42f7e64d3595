#include "server/coordinator/metric_families.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

namespace capstan::coordinator {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double Seconds(std::uint64_t microseconds) {
  return static_cast<double>(microseconds) / 1e6;
}

class Families {
 public:
  void Begin(MetricType type, const char* name, const char* help) {
    MetricFamily& family = families_.emplace_back();
    family.name = name;
    family.help = help;
    family.type = type;
  }

  void Add(Labels labels, double value) {
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    (families_.back().type == MetricType::Counter ? metric.counter.value : metric.gauge.value) =
        value;
  }

  void Add(Labels labels, const JobCounters::Durations& durations) {
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    metric.histogram.sample_count = durations.count;
    metric.histogram.sample_sum = durations.sum_s;
    for (std::size_t i = 0; i < durations.counts.size(); ++i) {
      metric.histogram.bucket.push_back({.cumulative_count = durations.counts[i],
                                         .upper_bound = JobCounters::kDurationBounds[i]});
    }
    metric.histogram.bucket.push_back({.cumulative_count = durations.count,
                                       .upper_bound = std::numeric_limits<double>::infinity()});
  }

  // Families without a value yet are left out: Prometheus has no use for them.
  std::vector<MetricFamily> Take() {
    std::erase_if(families_, [](const MetricFamily& family) { return family.metric.empty(); });
    return std::move(families_);
  }

 private:
  std::vector<MetricFamily> families_;
};

void AddJobs(const JobCounters::Totals& totals, const std::vector<engine::JobSnapshot>& running,
             Families* families) {
  families->Begin(MetricType::Counter, "capstan_jobs_total", "Jobs that have ended.");
  for (const auto& [key, count] : totals.jobs) {
    families->Add({{"kind", key.first}, {"outcome", key.second}}, static_cast<double>(count));
  }
  families->Begin(MetricType::Gauge, "capstan_jobs_running", "Jobs that run now.");
  std::map<std::string, double> kinds{{"backup", 0}, {"restore", 0}, {"verify", 0}, {"bench", 0}};
  for (const engine::JobSnapshot& job : running) {
    kinds[std::string(JobCounters::KindOf(job.command))] += 1;
  }
  for (const auto& [kind, count] : kinds) {
    families->Add({{"kind", kind}}, count);
  }
  families->Begin(MetricType::Histogram, "capstan_job_duration_seconds", "How long jobs took.");
  for (const auto& [kind, durations] : totals.durations) {
    families->Add({{"kind", kind}}, durations);
  }
  families->Begin(MetricType::Counter, "capstan_errors_total",
                  "Errors that statements ended with, by their numbers.");
  for (const auto& [number, count] : totals.errors) {
    families->Add({{"number", fmt::format("{}", number)}}, static_cast<double>(count));
  }
}

void AddDevices(const JobCounters::Totals& totals, const std::vector<engine::JobSnapshot>& running,
                const std::map<std::string, AgentTotals>& agents, Families* families) {
  families->Begin(MetricType::Counter, "capstan_device_bytes_total",
                  "Bytes that devices have moved.");
  for (const auto& [key, bytes] : totals.device_bytes) {
    families->Add({{"agent", key.first}, {"direction", key.second}}, static_cast<double>(bytes));
  }
  families->Begin(MetricType::Gauge, "capstan_device_throughput_bytes_per_second",
                  "What the devices of running jobs move now.");
  std::map<JobCounters::Pair, double> rates;
  for (const auto& [key, bytes] : totals.device_bytes) {
    rates[key] = 0;  // idle is a value, too
  }
  for (const engine::JobSnapshot& job : running) {
    for (const engine::DeviceSnapshot& device : job.devices) {
      rates[{JobCounters::AgentOf(device), std::string(JobCounters::DirectionOf(job.command))}] +=
          static_cast<double>(device.bytes_per_second_now);
    }
  }
  for (const auto& [key, rate] : rates) {
    families->Add({{"agent", key.first}, {"direction", key.second}}, rate);
  }
  families->Begin(MetricType::Counter, "capstan_device_wait_seconds_total",
                  "Time of devices: reader = waited for data or room, ring = had requests to do, "
                  "request = requests with the plugin, medium = the medium itself was busy, "
                  "throttle = a limit held requests back.");
  for (const auto& [key, seconds] : totals.device_waits_s) {
    const std::string stage = key.second == "device" ? "ring" : key.second;
    families->Add({{"agent", key.first}, {"stage", stage}}, seconds);
  }
  for (const auto& [name, agent] : agents) {
    families->Add({{"agent", name}, {"stage", "request"}}, Seconds(agent.request_time_us));
    families->Add({{"agent", name}, {"stage", "medium"}}, Seconds(agent.medium_time_us));
    families->Add({{"agent", name}, {"stage", "throttle"}}, Seconds(agent.throttled_us));
  }
}

void AddAgentTotals(const std::map<std::string, AgentTotals>& agents, Families* families) {
  struct Figure {
    const char* name;
    const char* help;
    std::uint64_t AgentTotals::*member;
  };
  constexpr Figure kFigures[] = {
      {"capstan_device_requests_total", "Reads and writes that plugins have completed.",
       &AgentTotals::requests},
      {"capstan_device_retries_total", "Requests that were sent again.", &AgentTotals::retries},
      {"capstan_device_errors_total", "Requests that failed for good.", &AgentTotals::errors},
      {"capstan_device_stops_total", "Times that a moving medium stopped for want of data.",
       &AgentTotals::stops},
  };
  for (const Figure& figure : kFigures) {
    families->Begin(MetricType::Counter, figure.name, figure.help);
    for (const auto& [name, agent] : agents) {
      families->Add({{"agent", name}}, static_cast<double>(agent.*figure.member));
    }
  }
}

void AddAgents(const MetricsSources& sources, Families* families) {
  std::map<std::string, bool> up;
  const std::vector<AgentProcess> processes =
      sources.supervisor == nullptr ? std::vector<AgentProcess>() : sources.supervisor->List();
  for (const AgentProcess& process : processes) {
    up[process.name] = false;
  }
  for (const AgentInfo& agent : sources.agents.ListGone()) {
    up[agent.name] = false;
  }
  for (const AgentInfo& agent : sources.agents.List()) {
    up[agent.name] = true;
  }
  families->Begin(MetricType::Gauge, "capstan_agent_up", "Whether the agent is attached.");
  for (const auto& [name, attached] : up) {
    families->Add({{"agent", name}}, attached ? 1 : 0);
  }
  families->Begin(MetricType::Counter, "capstan_agent_restarts_total",
                  "Times that the server has started the agent again.");
  for (const AgentProcess& process : processes) {
    families->Add({{"agent", process.name}}, static_cast<double>(process.restarts));
  }
}

void AddWriters(const MetricsSources& sources, Families* families) {
  families->Begin(MetricType::Gauge, "capstan_writer_state",
                  "1 for the state that the writer is in.");
  for (writers::DatabaseWriter* const writer : sources.writers) {
    const writers::WriterInfo info = writer->info();
    families->Add({{"writer", info.name}, {"state", std::string(WriterStateName(info.state))}}, 1);
  }
}

// The figures that every Prometheus client of Linux tells under these names.
void AddProcess(Families* families) {
  std::ifstream statm("/proc/self/statm");
  double virtual_pages = 0;
  double resident_pages = 0;
  statm >> virtual_pages >> resident_pages;
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  families->Begin(MetricType::Counter, "process_cpu_seconds_total",
                  "Total user and system CPU time spent in seconds.");
  families->Add({}, seconds(usage.ru_utime) + seconds(usage.ru_stime));
  families->Begin(MetricType::Gauge, "process_resident_memory_bytes",
                  "Resident memory size in bytes.");
  families->Add({}, resident_pages * page);
  families->Begin(MetricType::Gauge, "process_virtual_memory_bytes",
                  "Virtual memory size in bytes.");
  families->Add({}, virtual_pages * page);
  std::error_code failed;
  const std::filesystem::directory_iterator fds("/proc/self/fd", failed);
  families->Begin(MetricType::Gauge, "process_open_fds", "Number of open file descriptors.");
  if (!failed) {
    families->Add({}, static_cast<double>(std::distance(begin(fds), end(fds))));
  }
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  families->Begin(MetricType::Gauge, "process_max_fds", "Maximum number of open file descriptors.");
  families->Add({}, static_cast<double>(limit.rlim_cur));
}

}  // namespace

std::vector<MetricFamily> CollectFamilies(const MetricsSources& sources) {
  const JobCounters::Totals totals = sources.counters.totals();
  const std::vector<engine::JobSnapshot> running = sources.jobs.List();
  const std::map<std::string, AgentTotals> agents = sources.agents.Totals();
  Families families;
  families.Begin(MetricType::Gauge, "capstan_build_info", "1; the version is a label.");
  families.Add({{"version", CAPSTAN_VERSION}}, 1);
  AddJobs(totals, running, &families);
  AddDevices(totals, running, agents, &families);
  AddAgentTotals(agents, &families);
  AddAgents(sources, &families);
  AddWriters(sources, &families);
  AddProcess(&families);
  return families.Take();
}

}  // namespace capstan::coordinator
