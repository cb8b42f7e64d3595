#include "tools/bench/vdi/engine_end.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace capstan::vdi {
namespace {

constexpr std::uint32_t kBufferSize = 1 << 20;
constexpr std::chrono::seconds kPatience{20};

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) {
    Die(result.status());
  }
  return std::move(result).value();
}
void Must(const Status& status) {
  if (!status.ok()) {
    Die(status);
  }
}

}  // namespace

void Die(const Status& status) {
  std::fprintf(stderr, "bench_vdi: %s\n", status.ToString().c_str());
  std::_Exit(1);
}

std::vector<std::string> DeviceNames(std::uint32_t device_count) {
  std::vector<std::string> names{"bench"};
  for (std::uint32_t i = 1; i < device_count; ++i) {
    names.push_back("bench" + std::to_string(i));
  }
  return names;
}

Child::Child(const std::function<void()>& work) : pid_(::fork()) {
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    work();
    std::_Exit(0);
  }
}

double Child::Stop() {
  if (pid_ == 0) {
    return 0;
  }
  ::kill(pid_, SIGKILL);
  rusage usage{};
  ::wait4(pid_, nullptr, 0, &usage);
  pid_ = 0;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

EngineEnd::EngineEnd(Options options)
    : options_(std::move(options)),
      path_("/tmp/capstan-bench-vdi." + std::to_string(::getpid())),
      client_([this] { options_.client(path_, options_.device_count); }),
      rendezvous_(Must(Rendezvous::Listen({.path = path_}))),
      set_(Must(rendezvous_->Open("bench", Deadline::After(kPatience)))),
      flights_(options_.device_count * options_.in_flight) {
  Must(set_->BeginConfiguration({.added_features = feature::kWriteMedia, .block_size = 512}));
  Must(set_->RequestBuffers(kBufferSize, 0,
                            std::max(2U, options_.device_count * options_.in_flight)));
  const std::vector<std::string> names = DeviceNames(options_.device_count);
  Must(set_->EndConfiguration(names));
  std::vector<ServerDevice*> devices;
  for (const std::string& name : names) {
    devices.push_back(Must(set_->OpenDevice(name, Deadline::After(kPatience))));
  }
  for (std::size_t i = 0; i < flights_.size(); ++i) {
    Flight& flight = flights_[i];
    flight.engine = this;
    flight.device = devices[i % devices.size()];
    flight.command.code = CommandCode::kWrite;
    flight.command.size = options_.size;
    flight.command.buffer = Must(set_->AllocateBuffer(kBufferSize, 0));
    flight.command.completion_context = &flight;
    flight.command.completion_routine = [](ServerCommand* command) {
      auto* ended = static_cast<Flight*>(command->completion_context);
      ended->engine->Next(*ended);
      ended->engine->ended_.fetch_add(1, std::memory_order_release);
    };
  }
}

double EngineEnd::Finish() {
  [[maybe_unused]] const Status closed = set_->Close();
  return client_.Stop();
}

void EngineEnd::Send(std::uint64_t count) {
  left_.store(static_cast<std::int64_t>(count));
  ended_.store(0);
  for (Flight& flight : flights_) {
    Next(flight);
  }
  while (ended_.load(std::memory_order_acquire) < count) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

void EngineEnd::Next(Flight& flight) {
  if (left_.fetch_sub(1, std::memory_order_relaxed) <= 0) {
    return;
  }
  if (options_.fill) {
    std::memset(flight.command.buffer, 0x5a, options_.size);
  }
  Must(flight.device->SendCommand(&flight.command));
}

}  // namespace capstan::vdi
