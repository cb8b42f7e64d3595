// bench_ring: what a command costs on its way to a client in another process and back, and how fast
// full transfer buffers go; next to it the same over a pipe, a Unix socket and Boost's message
// queue.
//
//   bench_ring                       everything
//   bench_ring --benchmark_filter=Device
//
// The client is a forked process that answers at once and looks at no byte. "in flight" is how many
// commands are under way at a time. Times are of the real world; on two busy cores they vary.
// Counters: latency percentiles of a command from send to callback, and futex system calls of the
// engine's process per thousand commands.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vdi/base/log.h"
#include "vdi/client_device_set.h"
#include "vdi/rendezvous.h"
#include "vdi/wake.h"

namespace capstan::vdi {
namespace {

constexpr std::uint32_t kBlock = 1 << 20;

[[noreturn]] void Die(const Status& status) {
  std::fprintf(stderr, "bench_ring: %s\n", status.ToString().c_str());
  std::_Exit(1);
}
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

// A forked process that runs `work` and is gone when the object is.
class Child {
 public:
  explicit Child(const std::function<void()>& work) : pid_(::fork()) {
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      work();
      std::_Exit(0);
    }
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

 private:
  const pid_t pid_;
};

// --- the virtual device ---

void ServeDevices(const std::string& path, std::uint32_t device_count) {
  std::unique_ptr<ClientDeviceSet> set;
  while (!set) {  // until the engine listens
    auto created = ClientDeviceSet::Create(path, "bench", {.device_count = device_count});
    if (created.ok()) {
      set = std::move(created).value();
    }
  }
  Must(set->GetConfiguration(Deadline::Never()));  // the engine's end ends it
  std::vector<std::jthread> threads;
  for (std::uint32_t i = 0; i < device_count; ++i) {
    auto* device = Must(set->OpenDevice(i == 0 ? "bench" : "bench" + std::to_string(i)));
    threads.emplace_back([device] {
      for (;;) {
        const auto command = device->GetCommand(Deadline::Never());  // as above
        if (!command.ok() || !command->has_value()) {
          return;
        }
        Must(
            device->CompleteCommand((*command)->id, CompletionCode::kSuccess, (*command)->size, 0));
      }
    });
  }
}

class DeviceBench {
 public:
  DeviceBench(std::uint32_t device_count, std::uint32_t in_flight, std::uint32_t size)
      : path_("/tmp/capstan-bench-ring." + std::to_string(::getpid())),
        client_([&] { ServeDevices(path_, device_count); }),
        rendezvous_(Must(Rendezvous::Listen({.path = path_}))),
        set_(Must(rendezvous_->Open("bench", Deadline::After(std::chrono::seconds(20))))),
        size_(size),
        flights_(device_count * in_flight) {
    Must(set_->BeginConfiguration({.added_features = feature::kWriteMedia, .block_size = 512}));
    Must(set_->RequestBuffers(kBlock, 0, std::max(2U, device_count * in_flight)));
    std::vector<std::string> names{"bench"};
    for (std::uint32_t i = 1; i < device_count; ++i) {
      names.push_back("bench" + std::to_string(i));
    }
    Must(set_->EndConfiguration(names));
    for (const std::string& name : names) {
      devices_.push_back(Must(set_->OpenDevice(name, Deadline::After(std::chrono::seconds(20)))));
    }
    latencies_ns_.reserve(kSamplesMax);
  }

  // Sends `count` commands, `fill` each buffer first, and waits until all are back. The callback
  // sends the next one, so that one thread of the engine does all the work, as in a real backup
  // where the bottleneck is the device.
  void Send(std::uint64_t count, bool fill) {
    left_.store(static_cast<std::int64_t>(count));
    ended_.store(0);
    fill_ = fill;
    for (std::size_t i = 0; i < flights_.size() && i < count; ++i) {
      Flight& flight = flights_[i];
      flight.bench = this;
      flight.device = devices_[i % devices_.size()];
      if (flight.command.buffer == nullptr) {
        flight.command.buffer = Must(set_->AllocateBuffer(kBlock, 0));
      }
      flight.command.code = CommandCode::kWrite;
      flight.command.size = size_;
      flight.command.completion_context = &flight;
      flight.command.completion_routine = [](ServerCommand* command) {
        static_cast<Flight*>(command->completion_context)->bench->OnEnd(*command);
      };
      Next(flight);
    }
    while (ended_.load(std::memory_order_acquire) < count) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  void Report(benchmark::State& state) {
    std::sort(latencies_ns_.begin(), latencies_ns_.end());
    const auto percentile = [&](double share) {
      const auto last = static_cast<double>(latencies_ns_.size() - 1);
      return static_cast<double>(latencies_ns_[static_cast<std::size_t>(share * last)]) / 1000.0;
    };
    state.counters["p50_us"] = percentile(0.50);
    state.counters["p99_us"] = percentile(0.99);
    state.counters["p999_us"] = percentile(0.999);
  }

 private:
  static constexpr std::size_t kSamplesMax = 1 << 22;
  struct Flight {
    DeviceBench* bench = nullptr;
    ServerDevice* device = nullptr;
    ServerCommand command;
  };

  void Next(Flight& flight) {
    if (left_.fetch_sub(1, std::memory_order_relaxed) > 0) {
      if (fill_) {
        std::memset(flight.command.buffer, 0x5a, size_);
      }
      Must(flight.device->SendCommand(&flight.command));
    }
  }
  void OnEnd(ServerCommand& command) {
    if (latencies_ns_.size() < kSamplesMax) {
      latencies_ns_.push_back(command.completed_ns - command.sent_ns);
    }
    Next(*static_cast<Flight*>(command.completion_context));
    ended_.fetch_add(1, std::memory_order_release);
  }

  const std::string path_;
  const Child client_;  // forked before there are threads
  const std::unique_ptr<Rendezvous> rendezvous_;
  const std::unique_ptr<ServerDeviceSet> set_;
  const std::uint32_t size_;
  std::vector<ServerDevice*> devices_;
  std::vector<Flight> flights_;
  std::atomic<std::int64_t> left_{0};
  std::atomic<std::uint64_t> ended_{0};
  bool fill_ = false;
  std::vector<std::uint64_t> latencies_ns_;  // the completion thread's
};

// --- the others: a request goes there, an answer comes back ---

// What two processes use to talk. Both functions move `size` bytes, whole.
struct Channel {
  std::function<void(const void*, std::size_t)> send_there;
  std::function<void(void*, std::size_t)> receive_there;
  std::function<void(const void*, std::size_t)> send_back;
  std::function<void(void*, std::size_t)> receive_back;
};

void WriteAll(int fd, const void* data, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t count = ::write(fd, static_cast<const char*>(data) + done, size - done);
    if (count <= 0) {
      std::_Exit(1);
    }
    done += static_cast<std::size_t>(count);
  }
}
void ReadAll(int fd, void* data, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t count = ::read(fd, static_cast<char*>(data) + done, size - done);
    if (count <= 0) {
      std::_Exit(1);
    }
    done += static_cast<std::size_t>(count);
  }
}

Channel OverFds(int there_in, int there_out, int back_in, int back_out) {
  using std::placeholders::_1;
  using std::placeholders::_2;
  return {.send_there = std::bind(WriteAll, there_in, _1, _2),
          .receive_there = std::bind(ReadAll, there_out, _1, _2),
          .send_back = std::bind(WriteAll, back_in, _1, _2),
          .receive_back = std::bind(ReadAll, back_out, _1, _2)};
}

Channel OverPipe() {
  int there[2];
  int back[2];
  if (::pipe(there) != 0 || ::pipe(back) != 0) {
    Die(OsError(errno, "pipe"));
  }
  ::fcntl(there[1], F_SETPIPE_SZ, 1 << 20);
  return OverFds(there[1], there[0], back[1], back[0]);
}

Channel OverSocket() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
    Die(OsError(errno, "socketpair"));
  }
  return OverFds(ends[0], ends[1], ends[1], ends[0]);
}

// Boost's queue carries messages of one size at most: a block goes in pieces of 64 KiB.
Channel OverMessageQueue(std::uint32_t size) {
  namespace bip = boost::interprocess;
  static std::unique_ptr<bip::message_queue> there;
  static std::unique_ptr<bip::message_queue> back;
  const std::size_t piece = std::min<std::size_t>(size, 65536);
  const std::string name = "capstan-bench-" + std::to_string(::getpid());
  for (auto [queue, suffix, most] : {std::tuple(&there, "-there", piece), {&back, "-back", 64}}) {
    bip::message_queue::remove((name + suffix).c_str());
    *queue =
        std::make_unique<bip::message_queue>(bip::create_only, (name + suffix).c_str(), 64, most);
    bip::message_queue::remove((name + suffix).c_str());  // mapped; the name is not needed
  }
  const auto send = [](bip::message_queue& queue, const void* data, std::size_t whole) {
    for (std::size_t done = 0; done < whole;) {
      const std::size_t count = std::min(whole - done, queue.get_max_msg_size());
      queue.send(static_cast<const char*>(data) + done, count, 0);
      done += count;
    }
  };
  const auto receive = [](bip::message_queue& queue, void* data, std::size_t whole) {
    for (std::size_t done = 0; done < whole;) {
      bip::message_queue::size_type count = 0;
      unsigned int priority = 0;
      queue.receive(static_cast<char*>(data) + done, queue.get_max_msg_size(), count, priority);
      done += count;
    }
  };
  return {.send_there = [send](const void* d, std::size_t n) { send(*there, d, n); },
          .receive_there = [receive](void* d, std::size_t n) { receive(*there, d, n); },
          .send_back = [send](const void* d, std::size_t n) { send(*back, d, n); },
          .receive_back = [receive](void* d, std::size_t n) { receive(*back, d, n); }};
}

// `in_flight` requests of `size` bytes under way; each is answered with 32 bytes.
void RunChannel(benchmark::State& state, const Channel& channel, std::uint32_t in_flight,
                std::uint32_t size) {
  using Answer = std::array<char, 64>;
  const Child peer([&] {
    std::vector<char> request(size);
    const Answer answer{};
    for (;;) {
      channel.receive_there(request.data(), size);
      channel.send_back(answer.data(), answer.size());
    }
  });
  std::vector<char> request(size);
  Answer answer{};
  std::uint64_t count = 0;
  std::uint64_t under_way = 0;
  for (auto _ : state) {
    if (under_way == in_flight) {
      channel.receive_back(answer.data(), answer.size());
      --under_way;
    }
    if (size == kBlock) {
      std::memset(request.data(), 0x5a, size);
    }
    channel.send_there(request.data(), size);
    ++under_way;
    ++count;
  }
  for (; under_way > 0; --under_way) {
    channel.receive_back(answer.data(), answer.size());
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(count));
  if (size == kBlock) {
    state.SetBytesProcessed(static_cast<std::int64_t>(count * size));
  }
}

// --- benchmarks ---

void BM_DeviceCommands(benchmark::State& state) {
  DeviceBench bench(static_cast<std::uint32_t>(state.range(0)),
                    static_cast<std::uint32_t>(state.range(1)), 512);
  constexpr std::uint64_t kBatch = 200'000;
  bench.Send(kBatch / 10, false);
  const std::uint64_t calls_before = FutexCallCount();
  std::uint64_t count = 0;
  for (auto _ : state) {
    bench.Send(kBatch, false);
    count += kBatch;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(count));
  state.counters["futex_per_1000"] =
      static_cast<double>(FutexCallCount() - calls_before) * 1000.0 / static_cast<double>(count);
  bench.Report(state);
}
BENCHMARK(BM_DeviceCommands)
    ->ArgNames({"devices", "in_flight"})
    ->Args({1, 1})
    ->Args({1, 32})
    ->Args({2, 32})
    ->Args({8, 32})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void BM_DeviceBlocks(benchmark::State& state) {
  DeviceBench bench(static_cast<std::uint32_t>(state.range(0)), 8, kBlock);
  constexpr std::uint64_t kBatch = 2'000;
  bench.Send(kBatch / 10, true);
  std::uint64_t count = 0;
  for (auto _ : state) {
    bench.Send(kBatch, true);
    count += kBatch;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(count));
  state.SetBytesProcessed(static_cast<std::int64_t>(count * kBlock));
  bench.Report(state);
}
BENCHMARK(BM_DeviceBlocks)
    ->ArgName("devices")
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void BM_PipeCommands(benchmark::State& state) {
  RunChannel(state, OverPipe(), 32, 64);
}
void BM_SocketCommands(benchmark::State& state) {
  RunChannel(state, OverSocket(), 32, 64);
}
void BM_MessageQueueCommands(benchmark::State& state) {
  RunChannel(state, OverMessageQueue(64), 32, 64);
}
void BM_PipeBlocks(benchmark::State& state) {
  RunChannel(state, OverPipe(), 8, kBlock);
}
void BM_SocketBlocks(benchmark::State& state) {
  RunChannel(state, OverSocket(), 8, kBlock);
}
void BM_MessageQueueBlocks(benchmark::State& state) {
  RunChannel(state, OverMessageQueue(kBlock), 8, kBlock);
}
BENCHMARK(BM_PipeCommands)->UseRealTime();
BENCHMARK(BM_SocketCommands)->UseRealTime();
BENCHMARK(BM_MessageQueueCommands)->UseRealTime();
BENCHMARK(BM_PipeBlocks)->UseRealTime();
BENCHMARK(BM_SocketBlocks)->UseRealTime();
BENCHMARK(BM_MessageQueueBlocks)->UseRealTime();

}  // namespace
}  // namespace capstan::vdi

int main(int argc, char** argv) {
  capstan::SetLogLevel(capstan::LogLevel::kError);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
