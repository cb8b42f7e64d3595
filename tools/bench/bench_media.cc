// What a frame costs the engine beside reading its payload.
//
//   build/release/bin/bench_media
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "server/media/family_reader.h"
#include "server/media/family_writer.h"

namespace capstan::media {
namespace {

constexpr std::uint32_t kTransferSize = 1U << 20;

BackupSet BenchSet() {
  BackupSet set;
  set.database_name = "sales";
  set.transfer_size = kTransferSize;
  set.files.resize(1);
  set.files[0].physical_name = "/srv/db/sales.db";
  return set;
}

void SealFrame(benchmark::State& state) {
  const auto writer = std::move(FamilyWriter::Create(MediaHeader{}, BenchSet())).value();
  std::vector<std::byte> buffer(kTransferSize);
  FrameExtent extent{.length = writer->geometry().payload_capacity};
  for (auto _ : state) {
    benchmark::DoNotOptimize(writer->SealFrame(buffer, extent));
    extent.file_offset += extent.length;
    ++extent.sequence;
  }
}
// A fixed number: the frame index grows with every one.
BENCHMARK(SealFrame)->Iterations(1'000'000);

void Checksum(benchmark::State& state) {
  const std::vector<std::byte> data(static_cast<std::size_t>(state.range(0)), std::byte{7});
  for (auto _ : state) {
    benchmark::DoNotOptimize(Crc32c(0, data));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Checksum)->Arg(256)->Arg(65536)->Arg(kTransferSize);

class NullVisitor final : public FamilyVisitor {
 public:
  Status OnMediaHeader(const MediaHeader&) override { return OkStatus(); }
  Status OnSetBegin(const BackupSet&) override { return OkStatus(); }
  Status OnFrame(const FrameView& frame) override {
    benchmark::DoNotOptimize(frame.payload.data());
    return OkStatus();
  }
  Status OnSetEnd(const SetTrailer&, const FamilySummary&) override { return OkStatus(); }
};

// The reader alone, without the payload's checksum, over frames that arrive in place.
void ConsumeFrame(benchmark::State& state) {
  constexpr std::uint32_t kFrames = 1000;
  const auto writer = std::move(FamilyWriter::Create(MediaHeader{}, BenchSet())).value();
  std::vector<std::vector<std::byte>> frames;
  for (std::uint32_t i = 0; i < kFrames; ++i) {
    std::vector<std::byte> buffer(kTransferSize);
    const FrameExtent extent{.length = writer->geometry().payload_capacity, .sequence = i};
    writer->SealFrame(buffer, extent);
    frames.push_back(std::move(buffer));
  }
  std::vector<std::byte> preamble(kTransferSize);
  preamble.resize(writer->Preamble()->Fill(preamble));
  NullVisitor visitor;
  for (auto _ : state) {
    const auto reader = FamilyReader::Create("bench", 1, &visitor);
    bool right = reader->Consume(preamble).ok();
    for (const auto& frame : frames) {
      right = right && reader->Consume(frame).ok();
    }
    if (!right) {
      state.SkipWithError("a frame is not what was written");
    }
  }
  state.SetItemsProcessed(state.iterations() * kFrames);
}
BENCHMARK(ConsumeFrame);

}  // namespace
}  // namespace capstan::media

BENCHMARK_MAIN();
