// Many sets at once, each with a client process of its own that may be killed at any moment, while
// the engine writes to all devices, aborts sets and closes them. Afterwards nothing may be left:
// no descriptor, thread, mapping or child; each side must have heard of the other's end in time;
// every command sent must have been called back once; and a new set must work at once.
//
// Five seconds, or CAPSTAN_TORTURE_SECONDS; CAPSTAN_TEST_SEED replays the choices, not the timing.
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/process_footprint.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/base/log.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::Must;
using test::Patience;

constexpr int kSets = 8;
constexpr std::uint32_t kDevices = 8;
constexpr std::uint32_t kBufferSize = 65536;
constexpr std::size_t kInFlight = 4;  // per device
// How long either side may take to hear of the other's end, by the time that the machine gave us.
constexpr std::chrono::seconds kNewsMax{2};

std::uint64_t NumberFrom(const char* variable, std::uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

// A torture_client. Killed and reaped with the object.
class ClientProcess {
 public:
  ClientProcess(const std::string& socket, const std::string& set) {
    const std::string program = CAPSTAN_TORTURE_CLIENT;
    const std::string devices = std::to_string(kDevices);
    const char* argv[] = {program.c_str(), socket.c_str(), set.c_str(), devices.c_str(), nullptr};
    CAPSTAN_CHECK(::posix_spawn(&pid_, program.c_str(), nullptr, nullptr,
                                const_cast<char* const*>(argv), environ) == 0);
  }
  ~ClientProcess() {
    if (pid_ > 0) {
      Kill();
      [[maybe_unused]] const auto status = Wait(Patience());
    }
  }
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  void Kill() const {
    CAPSTAN_CHECK(pid_ > 0);
    ::kill(pid_, SIGKILL);
  }
  // What waitpid says of its end; nullopt if it has not ended by then.
  std::optional<int> Wait(Deadline deadline) {
    for (;;) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return status;
      }
      if (deadline.passed()) {
        return std::nullopt;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  pid_t pid_ = -1;
};

// Time, less what the machine took away from the whole process. A loaded machine stops everything
// for seconds now and then, and none of that is ours.
class Metronome {
 public:
  std::chrono::nanoseconds Now() const {
    return Deadline::Clock::now().time_since_epoch() - std::chrono::nanoseconds(late_ns_.load());
  }

 private:
  static constexpr std::chrono::milliseconds kTick{10};
  static constexpr std::chrono::milliseconds kStall{100};

  std::atomic<std::int64_t> late_ns_{0};  // all ticks together
  std::jthread thread_{[this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto due = Deadline::Clock::now() + kTick;
      std::this_thread::sleep_until(due);
      // Less is what threads do to each other, which is ours.
      if (const std::chrono::nanoseconds late = Deadline::Clock::now() - due; late > kStall) {
        late_ns_ += late.count();
      }
    }
  }};
};

struct Figures {
  std::atomic<std::uint64_t> sets{0};
  std::atomic<std::uint64_t> closed_well{0};
  std::atomic<std::uint64_t> kills{0};
  std::atomic<std::uint64_t> aborts{0};
  std::atomic<std::uint64_t> closes{0};  // with devices open
  std::atomic<std::uint64_t> commands{0};
  std::atomic<std::uint64_t> called_back{0};
  std::atomic<std::uint64_t> news_us_max{0};
  Metronome clock;

  void Note(std::chrono::nanoseconds news) {
    const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(news.count(), 0) / 1000);
    std::uint64_t before = news_us_max;
    while (us > before && !news_us_max.compare_exchange_weak(before, us)) {
    }
  }
};

// Keeps some commands in flight on one device until the set ends or `stop` says so; then all that
// was sent is called back, by completion or by the set's Close.
class Writer {
 public:
  Writer(ServerDeviceSet& set, ServerDevice& device, Figures& figures)
      : set_(set), device_(device), figures_(figures) {
    for (Slot& slot : slots_) {
      slot.figures = &figures;
      // None if the client is dead already; then there is nothing to send either.
      const auto buffer = set.AllocateBuffer(kBufferSize, 0);
      slot.buffer = buffer.ok() ? *buffer : nullptr;
    }
  }

  void Run(const std::atomic<bool>& stop) {
    while (!stop && set_.abort_reason().ok()) {
      bool sent = false;
      for (Slot& slot : slots_) {
        sent |= Send(slot, CommandCode::kWrite);
      }
      if (!sent) {
        // All are under way, or the device is in IO-ERROR.
        Send(slots_[0], CommandCode::kClearError);
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
    }
  }
  bool idle() const { return device_.in_flight() == 0; }

 private:
  struct Slot {
    ServerCommand command;
    std::byte* buffer = nullptr;
    Figures* figures = nullptr;
    std::atomic<bool> under_way{false};
  };

  bool Send(Slot& slot, CommandCode code) {
    if (slot.under_way.load()) {
      return false;
    }
    slot.command = {.code = code,
                    .size = code == CommandCode::kWrite ? kBufferSize : 0,
                    .buffer = code == CommandCode::kWrite ? slot.buffer : nullptr,
                    .completion_routine =
                        [](ServerCommand* ended) {
                          auto* self = static_cast<Slot*>(ended->completion_context);
                          self->figures->called_back.fetch_add(1);
                          CAPSTAN_CHECK(self->under_way.exchange(false));  // once
                        },
                    .completion_context = &slot};
    slot.under_way = true;
    if (!device_.SendCommand(&slot.command).ok()) {
      slot.under_way = false;
      return false;
    }
    figures_.commands.fetch_add(1);
    return true;
  }

  ServerDeviceSet& set_;
  ServerDevice& device_;
  Figures& figures_;
  std::array<Slot, kInFlight> slots_;
};

enum class End { kKill, kAbort, kClose, kGoodOrder };

// One set from its client's start to its end.
class Life {
 public:
  Life(Rendezvous& rendezvous, const std::string& name, Figures& figures)
      : figures_(figures), client_(rendezvous.path(), name) {
    set_ = Must(rendezvous.Open(name, Patience()));
    figures.sets.fetch_add(1);
    Must(set_->BeginConfiguration({.added_features = feature::kWriteMedia}));
    Must(set_->RequestBuffers(kBufferSize, 0, kDevices * kInFlight));
    for (std::uint32_t i = 0; i < kDevices; ++i) {
      names_.push_back(i == 0 ? name : name + "." + std::to_string(i));
    }
  }

  // A kill may come at any moment, also before the devices are open; then false.
  bool Start(std::optional<std::chrono::microseconds> kill_after) {
    if (kill_after) {
      killer_ = std::jthread([this, after = *kill_after] {
        std::this_thread::sleep_for(after);  // the moment is the parameter
        client_.Kill();
      });
    }
    if (!set_->EndConfiguration(names_).ok()) {
      return false;
    }
    for (const std::string& name : names_) {
      const auto device = set_->OpenDevice(name, Patience());
      if (!device.ok()) {
        EXPECT_THAT(device, HasCode(Code::kAborted));
        return false;
      }
      devices_.push_back(*device);
    }
    return true;
  }

  void Work(End end, std::chrono::milliseconds how_long) {
    std::atomic<bool> stop{false};
    std::vector<std::unique_ptr<Writer>> writers;
    {
      std::vector<std::jthread> threads;
      for (ServerDevice* device : devices_) {
        writers.push_back(std::make_unique<Writer>(*set_, *device, figures_));
        threads.emplace_back([writer = writers.back().get(), &stop] { writer->Run(stop); });
      }
      std::this_thread::sleep_for(how_long);
      if (end == End::kAbort) {
        figures_.aborts.fetch_add(1);
        set_->SignalAbort(Error(Code::kCancelled, "torture"));
      }
      stop = true;
    }
    Finish(end, writers);
  }

  void Finish(End end, const std::vector<std::unique_ptr<Writer>>& writers = {}) {
    const auto began = figures_.clock.Now();
    if (end == End::kGoodOrder) {
      for (std::size_t i = 0; i < devices_.size(); ++i) {
        const Deadline patience = Patience();
        while (!writers[i]->idle() && !patience.passed()) {
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
        EXPECT_THAT(devices_[i]->CloseDevice(), IsOk());
      }
    }
    if (end == End::kKill) {
      killer_.join();
      figures_.kills.fetch_add(1);
      const Deadline patience = Deadline::After(10 * kNewsMax);
      while (set_->abort_reason().ok() && !patience.passed()) {
        std::this_thread::yield();
      }
      EXPECT_THAT(set_->abort_reason(), HasCode(Code::kUnavailable)) << "the client was killed";
    }
    figures_.closes.fetch_add(end == End::kClose ? 1 : 0);
    EXPECT_THAT(set_->Close(), HasCode(end == End::kClose ? Code::kFailedPrecondition : Code::kOk));
    const auto status = client_.Wait(Deadline::After(10 * kNewsMax));
    const auto news = figures_.clock.Now() - began;
    figures_.Note(news);
    EXPECT_LT(news, kNewsMax) << "of both ends and the exit of a process";
    if (!status) {
      ADD_FAILURE() << "the client has not heard that the set is over";
    } else if (end != End::kKill) {
      ASSERT_TRUE(WIFEXITED(*status)) << *status;
      EXPECT_EQ(WEXITSTATUS(*status), end == End::kGoodOrder ? 0 : 3);
      figures_.closed_well.fetch_add(end == End::kGoodOrder ? 1 : 0);
    }
  }

 private:
  Figures& figures_;
  ClientProcess client_;
  std::unique_ptr<ServerDeviceSet> set_;
  std::vector<std::string> names_;
  std::vector<ServerDevice*> devices_;
  std::jthread killer_;  // of the client
};

void Torment(Rendezvous& rendezvous, int who, std::uint64_t seed, Deadline until,
             Figures& figures) {
  std::mt19937_64 random(seed + static_cast<std::uint64_t>(who));
  // The same name over and over: what is left of the last one must not be in the way.
  const std::string name = "torture" + std::to_string(who);
  while (!until.passed() && !testing::Test::HasFailure()) {
    Life life(rendezvous, name, figures);
    const End end = static_cast<End>(random() % 4);
    std::optional<std::chrono::microseconds> kill_after;
    if (end == End::kKill) {
      kill_after = std::chrono::microseconds(random() % 60'000);
    }
    if (life.Start(kill_after)) {
      life.Work(end, std::chrono::milliseconds(random() % 60));
    } else {
      ASSERT_EQ(end, End::kKill) << "the set ended by itself";
      life.Finish(end);
    }
  }
}

TEST(Torture, NothingIsLeftOfAnySet) {
  const std::uint64_t seed = NumberFrom("CAPSTAN_TEST_SEED", std::random_device{}());
  const std::uint64_t seconds = NumberFrom("CAPSTAN_TORTURE_SECONDS", 5);
  fmt::print("CAPSTAN_TEST_SEED={} CAPSTAN_TORTURE_SECONDS={}\n", seed, seconds);
  std::fflush(stdout);
  SetLogLevel(LogLevel::kError);
  const test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  Figures figures;
  // What the first sets leave in the allocator is no leak.
  Torment(*rendezvous, 0, seed, Deadline::After(std::chrono::milliseconds(200)), figures);
  const auto before = test::ProcessFootprint::Now();

  {
    const Deadline until = Deadline::After(std::chrono::seconds(seconds));
    std::vector<std::jthread> tormentors;
    for (int i = 0; i < kSets; ++i) {
      tormentors.emplace_back([&, i] { Torment(*rendezvous, i, seed, until, figures); });
    }
  }

  EXPECT_EQ(figures.called_back, figures.commands);
  EXPECT_EQ(test::LeakedSince(before), "");
  EXPECT_TRUE(rendezvous->List().empty());
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
  EXPECT_GT(figures.kills, 0U);
  EXPECT_GT(figures.closed_well, 0U);
  const auto after = test::ProcessFootprint::Now();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
  // Eight arenas of the allocator more, at most; a leaked buffer area alone would be 2 MiB.
  EXPECT_LT(after.resident_kib, before.resident_kib + 32 * 1024);
#endif
  Torment(*rendezvous, 0, seed, Deadline::After(std::chrono::milliseconds(200)), figures);
  fmt::print(
      "{} sets: {} closed in good order, {} clients killed, {} aborted, {} closed with devices "
      "open; {} commands; news took {} ms at most; {} KiB resident before, {} after\n",
      figures.sets.load(), figures.closed_well.load(), figures.kills.load(), figures.aborts.load(),
      figures.closes.load(), figures.commands.load(), figures.news_us_max.load() / 1000,
      before.resident_kib, after.resident_kib);
}

}  // namespace
}  // namespace capstan::vdi
