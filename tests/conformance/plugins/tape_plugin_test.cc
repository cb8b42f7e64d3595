// The tape plugin on an emulated library.
#include "agent/plugin_library.h"
#include "plugins/tape/emulator/emulated_library.h"
#include "tests/conformance/plugins/media_conformance.h"
#include "tests/conformance/plugins/tape_conformance.h"
#include "tests/support/temporary_directory.h"

namespace capstan::test {
namespace {

constexpr std::uint64_t kCapacity = 8U << 20U;

// A library of its own with two blank cartridges, the first in the drive. The plugin is one for all
// of the process, so that each library has another name in it.
class EmulatedTapes {
 public:
  EmulatedTapes()
      : name_("vault" + std::to_string(count_++)),
        plugin_(agent::LoadPlugin(CAPSTAN_TAPE_PLUGIN).value()) {
    tape::EmulatedLibrary library;
    const auto check = [](const tape::Failure& failure) {
      EXPECT_FALSE(failure.failed()) << failure.message;
    };
    check(tape::EmulatedLibrary::Create(directory_.Under("library"),
                                        {.drives = 2,
                                         .slots = 4,
                                         .capacity_bytes = kCapacity,
                                         .early_warning_bytes = 1U << 20U,
                                         .block_size_max = 1U << 20U},
                                        &library));
    std::string remark;
    check(library.AddBlank({.barcode = "CAP001L8"}));
    check(library.AddBlank({.barcode = "CAP002L8"}));
    check(library.Load("CAP001L8", 0, &remark));
    EXPECT_TRUE(plugin_->Configure("library." + name_, directory_.Under("library")).ok());
  }

  agent::MediaPlugin& plugin() { return *plugin_; }
  std::string target() const { return name_ + "/0"; }

 private:
  static inline int count_ = 0;

  TemporaryDirectory directory_;
  const std::string name_;
  std::unique_ptr<agent::MediaPlugin> plugin_;
};

class MediaOnTape final : public MediaPlace {
 public:
  agent::MediaPlugin& plugin() override { return tapes_.plugin(); }
  std::string TargetOf(const std::string&) override { return tapes_.target(); }
  std::size_t LeftOverCount() override { return 0; }

 private:
  EmulatedTapes tapes_;
};

class TapesOnTape final : public TapePlace {
 public:
  agent::MediaPlugin& plugin() override { return tapes_.plugin(); }
  std::string target() override { return tapes_.target(); }

 private:
  EmulatedTapes tapes_;
};

MediaUnderTest AsMedia() {
  return {.name = "Emulated",
          .make_place = [](std::string*) { return std::make_unique<MediaOnTape>(); },
          .mode = "emulated LTO-8"};
}

TapeUnderTest AsTapes() {
  return {.name = "Emulated",
          .make_place = [](std::string*) { return std::make_unique<TapesOnTape>(); },
          .too_many_bytes = 2 * kCapacity};
}

INSTANTIATE_TEST_SUITE_P(Tape, MediaConformance, testing::Values(AsMedia()), NameOf);
INSTANTIATE_TEST_SUITE_P(Tape, TapeConformance, testing::Values(AsTapes()), NameOfTape);

}  // namespace
}  // namespace capstan::test
