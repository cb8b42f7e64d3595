// Writes the seeds of the segment fuzzers, which are kept in corpus/: scripts that go well to the
// end, and each kind of lie once from where it matters.
//
//   segment_seed_corpus tests/fuzz/corpus
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/fuzz/hostile_steps.h"

namespace {

using capstan::fuzz::Script;
using capstan::fuzz::Step;

bool Write(const std::filesystem::path& folder, const std::string& name, const Script& script) {
  std::filesystem::create_directories(folder);
  std::ofstream file(folder / name, std::ios::binary);
  const auto bytes = script.Write();
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return file.good();
}

// Against the engine: acts are those of Arena::Play in segment_fuzz.cc.
bool WriteEngineSeeds(const std::filesystem::path& folder) {
  constexpr std::uint8_t kReady = 8;  // set-up: all of the engine's calls up to OpenDevice
  bool written = Write(folder, "work",
                       {.setup = {1, 0, kReady, 0},
                        .steps = {{.act = 1, .which = 0, .where = 3, .value = 1},
                                  {.act = 10, .which = 0, .where = 10},
                                  {.act = 8},
                                  {.act = 2, .which = 1, .where = 3, .value = 2},
                                  {.act = 10, .which = 1, .where = 10},
                                  {.act = 8},
                                  {.act = 3, .which = 0, .where = 1},
                                  {.act = 10, .which = 0, .where = 10},
                                  {.act = 8},
                                  {.act = 4, .which = 0},
                                  {.act = 4, .which = 1}}});
  written &= Write(folder, "error-and-clear",
                   {.setup = {0, 2, kReady, 1},
                    .steps = {{.act = 1, .where = 2},
                              {.act = 11, .where = 0, .value = 112},
                              {.act = 8},
                              {.act = 1},
                              {.act = 10, .where = 20},
                              {.act = 8},
                              {.act = 3},
                              {.act = 10, .where = 20}}});
  written &= Write(folder, "full-ring",
                   {.setup = {0, 0, kReady, 0},
                    .steps = {{.act = 1, .where = 15},
                              {.act = 10, .where = 299},
                              {.act = 8},
                              {.act = 1, .where = 15},
                              {.act = 10, .where = 299}}});
  written &= Write(folder, "step-by-step",
                   {.setup = {2, 1, 0, 0},
                    .steps = {{.act = 0},
                              {.act = 5},
                              {.act = 0},
                              {.act = 0},
                              {.act = 0},
                              {.act = 9, .which = 2},
                              {.act = 0},
                              {.act = 7}}});
  written &= Write(folder, "a-secondary-dies-with-a-device",
                   {.setup = {1, 0, 4, 0},
                    .steps = {{.act = 22, .which = 4, .where = 1},
                              {.act = 8},
                              {.act = 16, .which = 1, .where = 2, .value = 1},
                              {.act = 8},
                              {.act = 0},
                              {.act = 0},
                              {.act = 0},
                              {.act = 23, .value = 1},
                              {.act = 8}}});
  // One kind of lie each, in the middle of work, ever greater.
  for (std::uint8_t act = 11; act < 24; ++act) {
    Script script{.setup = {1, 0, kReady, 0}, .steps = {{.act = 1, .where = 3}, {.act = 12}}};
    for (const std::uint32_t value : {0U, 2U, 0x80000001U}) {
      script.steps.push_back({.act = act, .which = 0, .where = 1, .value = value});
      script.steps.push_back({.act = 8});
      script.steps.push_back({.act = 1, .which = 1});
      script.steps.push_back({.act = act, .which = 41, .where = 16, .value = value});
    }
    written &= Write(folder, "lie-" + std::to_string(act), script);
  }
  return written;
}

// Against the client: acts are those of Arena::Play in client_segment_fuzz.cc.
bool WriteClientSeeds(const std::filesystem::path& folder) {
  constexpr std::uint8_t kReady = 3;  // set-up: configured, opened, a command each
  bool written = Write(folder, "work",
                       {.setup = {1, 0, kReady, 0},
                        .steps = {{.act = 7, .which = 0},
                                  {.act = 3, .which = 1, .where = 2},
                                  {.act = 6, .which = 1},
                                  {.act = 7, .which = 1},
                                  {.act = 3, .which = 0, .value = 6},
                                  {.act = 6, .which = 0}}});
  written &= Write(folder, "error-and-clear",
                   {.setup = {0, 0, kReady, 0},
                    .steps = {{.act = 5, .where = 200},
                              {.act = 7, .value = 4 * 112},
                              {.act = 6},
                              {.act = 3, .value = 5 + 8 * 3},
                              {.act = 6},
                              {.act = 7, .where = 1}}});
  written &= Write(folder, "parked-and-left",
                   {.setup = {0, 0, kReady, 1}, .steps = {{.act = 8}, {.act = 15, .which = 1}}});
  written &= Write(folder, "parked-unconfigured",
                   {.setup = {0, 0, 0, 1}, .steps = {{.act = 8}, {.act = 15, .which = 1}}});
  written &= Write(folder, "more-devices-than-drawn",
                   {.setup = {0, 0, 0, 0},
                    .steps = {{.act = 13, .which = 0, .where = 20, .value = 64},
                              {.act = 0, .which = 8, .where = 0, .value = 64},
                              {.act = 1},
                              {.act = 2, .which = 0xC1}}});
  written &= Write(folder, "secondary-and-second-area",
                   {.setup = {1, 0, 2, 2},
                    .steps = {{.act = 17, .value = 1},
                              {.act = 3, .which = 0, .value = 7},
                              {.act = 6, .which = 0},
                              {.act = 18, .value = 1},
                              {.act = 18, .value = 0x10000001},
                              {.act = 7, .which = 0}}});
  for (std::uint8_t how = 0; how < 6; ++how) {
    written &= Write(folder, "answer-" + std::to_string(how),
                     {.setup = {0, static_cast<std::uint8_t>(0xC0 + how), 0, 0},
                      .steps = {{.act = 1, .which = 2, .where = 9, .value = 13}}});
  }
  for (std::uint8_t act = 0; act < 20; ++act) {
    Script script{.setup = {1, 0, static_cast<std::uint8_t>(act == 0 ? 0 : kReady), 0},
                  .steps = {{.act = 3, .which = 0, .where = 3}}};
    for (const std::uint32_t value : {1U, 2U, 0x80000003U}) {
      script.steps.push_back({.act = act, .which = 0, .where = 1, .value = value});
      script.steps.push_back({.act = 6, .which = 0});
      script.steps.push_back({.act = act, .which = 41, .where = 16, .value = value});
      script.steps.push_back({.act = 6, .which = 1});
      script.steps.push_back({.act = 7, .which = 1});
    }
    written &= Write(folder, "lie-" + std::to_string(act), script);
  }
  return written;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: segment_seed_corpus DIRECTORY\n", stderr);
    return 2;
  }
  const std::filesystem::path corpus = argv[1];
  return WriteEngineSeeds(corpus / "segment_fuzz") &&
                 WriteClientSeeds(corpus / "client_segment_fuzz")
             ? 0
             : 1;
}
