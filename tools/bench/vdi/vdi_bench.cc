// bench_vdi: what the classic interface costs on top of the native one.
//
//   bench_vdi --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
//
// The same engine, the same commands, the same loop in a client process, once through libsqlvdi.so
// and once through vdi/client_device_set.h. The client answers at once and looks at no byte.
// Target: Classic does at least 0.9 of Native's items per second. Times are of the real world; on a
// busy machine compare client_ns, the processor time that a command costs the client.
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <vdi.h>

#include "tools/bench/vdi/engine_end.h"
#include "vdi/base/log.h"
#include "vdi/client_device_set.h"

namespace capstan::vdi {
namespace {

constexpr std::uint32_t kBlock = 1 << 20;
constexpr time_t kForever = -1;

void ServeNative(const std::string& path, std::uint32_t device_count) {
  std::unique_ptr<ClientDeviceSet> set;
  while (!set) {  // until the engine listens
    auto created = ClientDeviceSet::Create(path, "bench", {.device_count = device_count});
    if (created.ok()) {
      set = std::move(created).value();
    }
  }
  // The engine's end ends all waits.
  if (const auto config = set->GetConfiguration(Deadline::Never()); !config.ok()) {
    Die(config.status());
  }
  std::vector<std::jthread> threads;
  for (const std::string& name : DeviceNames(device_count)) {
    const auto opened = set->OpenDevice(name);
    if (!opened.ok()) {
      Die(opened.status());
    }
    threads.emplace_back([device = *opened] {
      for (;;) {
        const auto command = device->GetCommand(Deadline::Never());
        if (!command.ok() || !command->has_value() ||
            !device->CompleteCommand((*command)->id, CompletionCode::kSuccess, (*command)->size, 0)
                 .ok()) {
          return;
        }
      }
    });
  }
}

void ServeClassic(const std::string& path, std::uint32_t device_count) {
  ::setenv("CAPSTAN_VDI", path.c_str(), 1);
  std::vector<std::string> names = DeviceNames(device_count);
  ClientVirtualDeviceSet set;
  VDConfig config{};
  config.deviceCount = device_count;
  while (set.Create(names.front().data(), &config) != NOERROR) {  // until the engine listens
  }
  if (set.GetConfiguration(kForever, &config) != NOERROR) {
    Die(Error(Code::kAborted, "GetConfiguration failed"));
  }
  std::vector<std::jthread> threads;
  for (std::string& name : names) {
    ClientVirtualDevice* device = nullptr;
    if (set.OpenDevice(name.data(), &device) != NOERROR) {
      Die(Error(Code::kAborted, "OpenDevice failed"));
    }
    threads.emplace_back([device] {
      VDC_Command* command = nullptr;
      while (device->GetCommand(kForever, &command) == NOERROR &&
             device->CompleteCommand(command, ERROR_SUCCESS,
                                     static_cast<unsigned long>(command->size), 0) == NOERROR) {
      }
    });
  }
}

using Client = void (*)(const std::string& path, std::uint32_t device_count);

void RunCommands(benchmark::State& state, Client client) {
  EngineEnd engine({.device_count = static_cast<std::uint32_t>(state.range(0)),
                    .in_flight = static_cast<std::uint32_t>(state.range(1)),
                    .client = client});
  constexpr std::uint64_t kBatch = 200'000;
  engine.Send(kBatch / 10);
  for (auto _ : state) {
    engine.Send(kBatch);
  }
  const std::uint64_t count = static_cast<std::uint64_t>(state.iterations()) * kBatch;
  state.SetItemsProcessed(static_cast<std::int64_t>(count));
  state.counters["client_ns"] = engine.Finish() * 1e9 / static_cast<double>(count + kBatch / 10);
}

void RunBlocks(benchmark::State& state, Client client) {
  EngineEnd engine({.device_count = static_cast<std::uint32_t>(state.range(0)),
                    .in_flight = 8,
                    .size = kBlock,
                    .fill = true,
                    .client = client});
  constexpr std::uint64_t kBatch = 2'000;
  engine.Send(kBatch / 10);
  for (auto _ : state) {
    engine.Send(kBatch);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kBatch * kBlock));
}

void Commands(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"devices", "in_flight"})
      ->Args({1, 1})
      ->Args({1, 32})
      ->Args({2, 32})
      ->Args({8, 32})
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}
void Blocks(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("devices")->Arg(1)->Arg(2)->Arg(8)->UseRealTime()->Unit(
      benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(RunCommands, Native, ServeNative)->Apply(Commands);
BENCHMARK_CAPTURE(RunCommands, Classic, ServeClassic)->Apply(Commands);
BENCHMARK_CAPTURE(RunBlocks, Native, ServeNative)->Apply(Blocks);
BENCHMARK_CAPTURE(RunBlocks, Classic, ServeClassic)->Apply(Blocks);

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
