// Random sequences of calls on both ends of a device set against the tables of VDI. A sequence that
// fails is shrunk and printed as a script.
//
//   vdi_property_test --sequences=200000 --seed=7
#include <cinttypes>
#include <cstdlib>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/property/vdi/set_rig.h"
#include "tests/property/vdi/shrink.h"
#include "tests/support/device_set_pair.h"
#include "tests/support/temporary_directory.h"
#include "vdi/base/log.h"

namespace capstan::vdi {
namespace {

std::uint64_t g_sequences = 2000;
std::uint64_t g_seed = 0;

constexpr int kStepsMin = 10;
constexpr int kStepsMax = 60;

using Sequence = std::vector<Step>;

class SetProperty : public testing::Test {
 protected:
  // "" if every call was answered as the model says. Calls without an object are left out.
  std::string Run(const Sequence& sequence) {
    SetRig rig(*rendezvous_, fmt::format("set{}", ++serial_));
    SetModel model;
    for (const Step& step : sequence) {
      if (std::string wrong = Take(rig, model, step); !wrong.empty()) {
        return wrong;
      }
    }
    return "";
  }

  // Makes up a sequence while it runs: mostly of calls that are right now. Returns what Run does.
  std::string RunRandom(std::mt19937_64& random, Sequence& sequence) {
    SetRig rig(*rendezvous_, fmt::format("set{}", ++serial_));
    SetModel model;
    const int count = kStepsMin + static_cast<int>(random() % (kStepsMax - kStepsMin));
    while (static_cast<int>(sequence.size()) < count) {
      sequence.push_back(Pick(random, model));
      if (std::string wrong = Take(rig, model, sequence.back()); !wrong.empty()) {
        return wrong;
      }
    }
    return "";
  }

  std::string Take(SetRig& rig, SetModel& model, const Step& step) {
    const std::optional<Answer> expected = model.Expect(step);
    if (!expected) {
      return "";
    }
    ++calls_;
    const Answer got = rig.Make(step);
    if (got != *expected) {
      return fmt::format("{}  // said {}, and must say {}", ToString(step), ToString(got),
                         ToString(*expected));
    }
    model.Apply(step);
    std::string wrong = rig.Compare(model);
    return wrong.empty() ? "" : fmt::format("{}  // {}", ToString(step), wrong);
  }

  static Step Pick(std::mt19937_64& random, const SetModel& model) {
    for (;;) {
      const Step step{.call = static_cast<Call>(random() % kCallCount),
                      .device = random() % kModelDevices};
      const auto answer = model.Expect(step);
      if (!answer) {
        continue;
      }
      const bool ends = step.call == Call::kClientSignalAbort ||
                        step.call == Call::kServerSignalAbort || step.call == Call::kClientClose ||
                        step.call == Call::kServerClose || step.call == Call::kSecondaryClose;
      const unsigned likely_of_16 = ends ? 1 : answer->code == Code::kOk ? 16 : 2;
      if (random() % 16 < likely_of_16) {
        return step;
      }
    }
  }

  std::string Script(const Sequence& sequence) {
    std::string script;
    for (const Step& step : sequence) {
      script += "  " + ToString(step) + "\n";
    }
    return script;
  }

  test::TemporaryDirectory folder_;
  std::unique_ptr<Rendezvous> rendezvous_ =
      test::Must(Rendezvous::Listen({.path = folder_.Under("s")}));
  std::uint64_t serial_ = 0;
  std::uint64_t calls_ = 0;
};

TEST_F(SetProperty, EveryCallEndsAsTheTablesSay) {
  const std::uint64_t seed = g_seed != 0 ? g_seed : std::random_device{}();
  fmt::print("--seed={} --sequences={}\n", seed, g_sequences);
  std::fflush(stdout);
  for (std::uint64_t i = 0; i < g_sequences; ++i) {
    std::mt19937_64 random(seed + i);
    Sequence sequence;
    const std::string wrong = RunRandom(random, sequence);
    if (wrong.empty()) {
      continue;
    }
    const Sequence shrunk = test::Shrink<Step>(
        sequence, [this](const Sequence& shorter) { return !Run(shorter).empty(); });
    FAIL() << "--seed=" << seed + i << " --sequences=1\n"
           << wrong << "\nfails, too:\n"
           << Script(shrunk) << "with:\n  " << Run(shrunk);
  }
  fmt::print("{} calls\n", calls_);
}

// The model alone: that its walk reaches every state is what makes the property worth something.
TEST(SetModel, ABackupGoesFromCreateToClose) {
  SetModel model;
  const auto expect = [&model](Call call, Code code, std::size_t device = 0) {
    const Step step{.call = call, .device = device};
    const auto answer = model.Expect(step);
    ASSERT_TRUE(answer.has_value()) << ToString(step);
    EXPECT_EQ(answer->code, code) << ToString(step);
    model.Apply(step);
  };
  expect(Call::kClientCreate, Code::kOk);
  expect(Call::kClientGetConfiguration, Code::kDeadlineExceeded);
  expect(Call::kServerOpen, Code::kOk);
  expect(Call::kServerBeginConfiguration, Code::kOk);
  expect(Call::kServerRequestBuffers, Code::kOk);
  expect(Call::kServerEndConfiguration, Code::kOk);
  expect(Call::kServerAllocateBuffer, Code::kOk);
  for (const std::size_t device : {0U, 1U}) {
    expect(Call::kServerOpenDevice, Code::kDeadlineExceeded, device);
    expect(Call::kClientOpenDevice, Code::kOk, device);
    expect(Call::kServerOpenDevice, Code::kOk, device);
  }
  expect(Call::kClientOpenDevice, Code::kAlreadyExists);
  expect(Call::kServerSendWrite, Code::kOk);
  expect(Call::kServerSendWrite, Code::kOk);
  expect(Call::kServerCloseDevice, Code::kFailedPrecondition);
  expect(Call::kClientGetCommand, Code::kOk);
  expect(Call::kClientFail, Code::kOk);
  expect(Call::kServerSendWrite, Code::kFailedPrecondition);
  expect(Call::kServerSendClearError, Code::kOk);
  expect(Call::kClientGetCommand, Code::kOk);
  EXPECT_EQ(model.ended()[1], CompletionCode::kIoDevice);
  expect(Call::kClientComplete, Code::kOk);
  for (const std::size_t device : {0U, 1U}) {
    expect(Call::kServerCloseDevice, Code::kOk, device);
    expect(Call::kClientGetCommand, Code::kOk, device);
  }
  expect(Call::kClientOpenDevice, Code::kFailedPrecondition);
  expect(Call::kClientClose, Code::kOk);
  expect(Call::kServerClose, Code::kOk);
  expect(Call::kServerClose, Code::kFailedPrecondition);
}

TEST(Shrink, KeepsWhatIsNeededAndNothingElse) {
  std::vector<int> sequence(100);
  for (int i = 0; i < 100; ++i) {
    sequence[static_cast<std::size_t>(i)] = i;
  }
  const auto fails = [](const std::vector<int>& some) {
    return std::count(some.begin(), some.end(), 17) + std::count(some.begin(), some.end(), 80) == 2;
  };
  EXPECT_EQ(test::Shrink<int>(sequence, fails), (std::vector<int>{17, 80}));
}

}  // namespace
}  // namespace capstan::vdi

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    const bool known =
        equals != std::string_view::npos && (name == "--sequences" || name == "--seed");
    if (!known) {
      fmt::print(stderr, "usage: {} [--sequences=N] [--seed=N]\n", argv[0]);
      return 2;
    }
    (name == "--seed" ? capstan::vdi::g_seed : capstan::vdi::g_sequences) =
        std::strtoull(argument.data() + equals + 1, nullptr, 10);
  }
  capstan::SetLogLevel(capstan::LogLevel::kError);
  return RUN_ALL_TESTS();
}
