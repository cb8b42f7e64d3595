// kill -9 of either end of a device set at every crash point that the sources of vdi/ name, for
// every kind of command where a point has kinds. The points are read from the sources, so none can
// be forgotten: one that no session passes fails its test.
//
// After each death the survivor has its error within two seconds from every call, holds no
// descriptor, mapping, thread or socket of the set, and a new set of the same name works at once.
//
// CAPSTAN_CRASH_ROUNDS: deaths per point, 3 unless said otherwise.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/device_session.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/victim_process.h"
#include "vdi/rendezvous.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::Must;
using test::Patience;

constexpr std::chrono::seconds kNoticeMax{2};
constexpr std::string_view kSet = "set";

struct Point {
  std::string name;
  bool has_kinds = false;
};

// Appends what follows each `macro` in the source and starts with `end`.
void FindPoints(std::string_view source, std::string_view macro, std::string_view end,
                std::vector<Point>& points) {
  for (auto at = source.find(macro); at != source.npos; at = source.find(macro, at + 1)) {
    const auto begin = source.find('"', at) + 1;
    const std::string_view name = source.substr(begin, source.find('"', begin) - begin);
    if (name.starts_with(end)) {
      points.push_back({.name = std::string(name), .has_kinds = macro.ends_with("_OF(")});
    }
  }
}

// Those of one end, "vdi.client." or "vdi.server.".
std::vector<Point> RegisteredPoints(std::string_view end) {
  std::vector<Point> points;
  for (const auto& entry : std::filesystem::directory_iterator(CAPSTAN_SOURCE_DIR "/vdi")) {
    if (entry.path().extension() == ".cc") {
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      const std::string source = text.str();
      FindPoints(source, "CAPSTAN_CRASH_POINT(", end, points);
      FindPoints(source, "CAPSTAN_CRASH_POINT_OF(", end, points);
    }
  }
  std::sort(points.begin(), points.end(),
            [](const Point& a, const Point& b) { return a.name < b.name; });
  points.erase(std::unique(points.begin(), points.end(),
                           [](const Point& a, const Point& b) { return a.name == b.name; }),
               points.end());
  return points;
}

std::vector<std::string> FullNames(const Point& point) {
  if (!point.has_kinds) {
    return {point.name};
  }
  std::vector<std::string> names;
  for (const CommandCode code : AllCommands()) {
    names.push_back(point.name + "." + std::string(CommandName(code)));
  }
  return names;
}

int Rounds() {
  const char* text = std::getenv("CAPSTAN_CRASH_ROUNDS");
  return text == nullptr ? 3 : std::atoi(text);
}

std::string EndingFor(const Point& point) {
  return point.name.ends_with("_abort") ? "abort" : "close";
}

// Passed only when a secondary joins.
bool IsOfJoining(const Point& point) {
  return point.name.find("join") != std::string::npos;
}

// By this point the other end may have seen a session end in good order.
bool MayEndWell(const Point& point) {
  return point.name.ends_with("_close") || point.name.ends_with("_close_device") ||
         point.name.ends_with("_device_closed");
}

std::string TestName(const testing::TestParamInfo<Point>& info) {
  std::string name = info.param.name.substr(std::string("vdi.client.").size());
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

void RunWholeSession(Rendezvous& rendezvous) {
  std::jthread client([&] {
    EXPECT_THAT(RunClient(rendezvous.path(), std::string(kSet), Ending::kClose), IsOk());
  });
  const auto set = Must(rendezvous.Open(kSet, Patience()));
  EXPECT_THAT(EngineSession(*set, Ending::kClose).Run(), IsOk());
  client.join();
  EXPECT_THAT(set->Close(), IsOk());
}

class ClientCrashPoint : public testing::TestWithParam<Point> {
 protected:
  // The set of the client, unless it died before there was one.
  std::unique_ptr<ServerDeviceSet> Meet(Rendezvous& rendezvous, VictimProcess& client) {
    const Deadline deadline = Patience();
    for (bool last_look = false; !deadline.passed();) {
      auto set = rendezvous.Open(kSet, Deadline::After(std::chrono::milliseconds(1)));
      if (set.ok()) {
        return std::move(set).value();
      }
      if (last_look) {
        return nullptr;
      }
      last_look = client.ended();
    }
    ADD_FAILURE() << "neither a set nor a death";
    return nullptr;
  }

  // A secondary dies; it had opened no device, so its primary must see to the end of the set.
  void DieJoining(Rendezvous& rendezvous, const std::string& point, const Holdings& before) {
    bool killed = false;
    std::jthread primary([&] {
      const Status ended = RunPrimary(rendezvous.path(), std::string(kSet), [&] {
        VictimProcess secondary({"secondary", rendezvous.path(), std::string(kSet)}, point);
        secondary.AwaitEnd();
        killed = secondary.was_killed();
        return Error(Code::kUnavailable, "the secondary died");
      });
      EXPECT_THAT(ended, HasCode(Code::kUnavailable));
    });
    {
      const auto set = Must(rendezvous.Open(kSet, Patience()));
      EXPECT_THAT(EngineSession(*set, Ending::kClose).Run(), HasCode(Code::kAborted));
      primary.join();
      EXPECT_TRUE(killed) << "it did not get there";
      EXPECT_THAT(set->Close(), IsOk());
    }
    RunWholeSession(rendezvous);
    const Holdings after = Holdings::Settled(before);
    EXPECT_TRUE(after == before) << "before: " << before.Text() << "\nafter: " << after.Text();
  }

  void Die(Rendezvous& rendezvous, const std::string& point, const Holdings& before) {
    VictimProcess client({"client", rendezvous.path(), std::string(kSet), EndingFor(GetParam())},
                         point);
    if (const auto set = Meet(rendezvous, client)) {
      Status outcome;
      EngineSession session(*set, Ending::kClose);
      std::jthread working([&] { outcome = session.Run(); });
      client.AwaitEnd();
      const Deadline notice = Deadline::After(kNoticeMax);
      working.join();

      EXPECT_FALSE(notice.passed()) << "the engine noticed too late";
      EXPECT_EQ(session.tally().sent, session.tally().ended);
      EXPECT_LE(session.tally().aborted, 2);
      if (!outcome.ok() || !MayEndWell(GetParam())) {
        EXPECT_THAT(outcome, HasCode(Code::kAborted));
        // Killed, or said good-bye first.
        const Code reason = set->abort_reason().code();
        EXPECT_TRUE(reason == Code::kUnavailable || EndingFor(GetParam()) == "abort")
            << set->abort_reason().ToString();
        EXPECT_THAT(set->AllocateBuffer(kSessionBufferSize, 0), HasCode(Code::kAborted));
      }
      EXPECT_NE(set->Close().code(), Code::kInternal);
    }
    client.AwaitEnd();
    EXPECT_TRUE(client.was_killed())
        << "it did not get there; exit status " << client.exit_status();
    // Its name is free at once: nothing is waited for here.
    RunWholeSession(rendezvous);
    const Holdings after = Holdings::Settled(before);
    EXPECT_TRUE(after == before) << "before: " << before.Text() << "\nafter: " << after.Text();
  }
};

TEST_P(ClientCrashPoint, IsSurvivedByTheEngine) {
  test::TemporaryDirectory folder;
  const auto rendezvous = Must(Rendezvous::Listen({.path = folder.Under("s")}));
  const Holdings before = Holdings::Now();
  for (const std::string& point : FullNames(GetParam())) {
    SCOPED_TRACE(point);
    for (int round = 0; round < Rounds() && !HasFailure(); ++round) {
      if (IsOfJoining(GetParam())) {
        DieJoining(*rendezvous, point, before);
      } else {
        Die(*rendezvous, point, before);
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, ClientCrashPoint, testing::ValuesIn(RegisteredPoints("vdi.client.")),
                         TestName);

class EngineCrashPoint : public testing::TestWithParam<Point> {
 protected:
  // The client's part against an engine that dies; nobody there yet is no failure.
  static Status RunClientAgainst(const std::atomic<bool>& engine_is_dead, const std::string& path) {
    for (;;) {
      const bool last_try = engine_is_dead;
      const std::string name(kSet);
      Status status = IsOfJoining(GetParam())
                          ? RunPrimary(path, name, [&] { return RunSecondary(path, name); })
                          : RunClient(path, name, Ending::kClose);
      if (status.code() != Code::kUnavailable || last_try) {
        return status;
      }
      std::this_thread::yield();
    }
  }

  void Die(const std::string& path, const std::string& point, const Holdings& before) {
    VictimProcess engine({"engine", path, std::string(kSet), EndingFor(GetParam())}, point);
    std::atomic<bool> dead{false};
    Status outcome;
    std::jthread serving([&] { outcome = RunClientAgainst(dead, path); });
    engine.AwaitEnd();
    dead = true;
    const Deadline notice = Deadline::After(kNoticeMax);
    serving.join();

    EXPECT_FALSE(notice.passed()) << "the client noticed too late";
    EXPECT_TRUE(engine.was_killed())
        << "it did not get there; exit status " << engine.exit_status();
    if (!outcome.ok() || !MayEndWell(GetParam())) {
      EXPECT_TRUE(outcome.code() == Code::kAborted || outcome.code() == Code::kUnavailable)
          << outcome.ToString();
    }
    EXPECT_TRUE(Holdings::Settled(before) == before)
        << "before: " << before.Text() << "\nafter: " << Holdings::Now().Text();

    // The stale socket is replaced, and the name of the set is free.
    const auto rendezvous = Must(Rendezvous::Listen({.path = path}));
    RunWholeSession(*rendezvous);
  }
};

TEST_P(EngineCrashPoint, IsSurvivedByTheClient) {
  test::TemporaryDirectory folder;
  const Holdings before = Holdings::Now();
  for (const std::string& point : FullNames(GetParam())) {
    SCOPED_TRACE(point);
    for (int round = 0; round < Rounds() && !HasFailure(); ++round) {
      Die(folder.Under("s"), point, before);
    }
  }
  EXPECT_EQ(folder.Leaves(), std::vector<std::string>());
}
INSTANTIATE_TEST_SUITE_P(All, EngineCrashPoint, testing::ValuesIn(RegisteredPoints("vdi.server.")),
                         TestName);

}  // namespace
}  // namespace capstan::vdi
