// sqlite_backup_bench DATABASE [SECONDS]: what a backup costs, and what it costs the application.
//
// Reads the database through the SQLite writer as the engine does, into one buffer of 1 MiB, once
// per setting, and compares with plain pread. Then, in WAL mode, a second process commits one row a
// time for SECONDS (10) without a backup, and again while backups run back to back; the latencies
// of its commits are printed for both. The database must hold no table `capstan_bench`, or one that
// an earlier run made; that table is all it writes to.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint32_t kTransferBytes = 1 << 20;

double ProcessorSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

[[noreturn]] void Die(std::string_view text) {
  fmt::print(stderr, "sqlite_backup_bench: {}\n", text);
  std::exit(1);
}

// Reads the whole database; returns its bytes.
std::uint64_t ReadThroughWriter(SqliteWriter& writer, const std::string& path, bool drop_behind) {
  auto session = writer.BeginBackup(path, "bench", {.drop_page_cache_behind = drop_behind});
  if (!session.ok()) {
    Die(session.status().message());
  }
  std::vector<std::byte> buffer(kTransferBytes);
  std::uint64_t bytes = 0;
  while (true) {
    const auto extent = (*session)->NextExtent(0, kTransferBytes);
    if (!extent.ok() || !*extent) {
      break;
    }
    const auto target = std::span(buffer).first((*extent)->length);
    if (Status status = (*session)->ReadExtent(**extent, target); !status.ok()) {
      Die(status.message());
    }
    bytes += target.size();
  }
  if (Status status = (*session)->End(); !status.ok()) {
    Die(status.message());
  }
  return bytes;
}

std::uint64_t ReadPlainly(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<std::byte> buffer(kTransferBytes);
  std::uint64_t bytes = 0;
  while (true) {
    const ssize_t count =
        ::pread(fd.get(), buffer.data(), buffer.size(), static_cast<off_t>(bytes));
    if (count <= 0) {
      return bytes;
    }
    bytes += static_cast<std::uint64_t>(count);
  }
}

void MeasureReading(const std::string& path) {
  SqliteWriter writer;
  struct Way {
    const char* name;
    std::function<std::uint64_t()> read;
    double best_s = 1e9;
    double best_processor_s = 1e9;
    std::uint64_t bytes = 0;
  };
  std::vector<Way> ways;
  ways.push_back({"pread", [&] { return ReadPlainly(path); }});
  ways.push_back({"writer", [&] { return ReadThroughWriter(writer, path, false); }});
  ways.push_back({"writer, drop behind", [&] { return ReadThroughWriter(writer, path, true); }});
  // Side by side, so that all see the same neighbours on the machine.
  for (int round = 0; round < 7; ++round) {
    for (Way& way : ways) {
      const double processor_begin = ProcessorSeconds();
      const auto begin = Clock::now();
      way.bytes = way.read();
      way.best_s = std::min(way.best_s, SecondsSince(begin));
      way.best_processor_s = std::min(way.best_processor_s, ProcessorSeconds() - processor_begin);
    }
  }
  for (const Way& way : ways) {
    const double megabytes = static_cast<double>(way.bytes) / 1e6;
    fmt::print("{:<24} {:>8.0f} MB/s, {:.3f} processor seconds (best of 7, {:.0f} MB)\n", way.name,
               megabytes / way.best_s, way.best_processor_s, megabytes);
  }
}

// The application: commits until `seconds` are over, prints what its commits took.
int CommitAndReport(const std::string& path, int seconds, const char* what) {
  sqlite3* database = nullptr;
  sqlite3_open(path.c_str(), &database);
  sqlite3_busy_timeout(database, 10000);
  sqlite3_exec(database,
               "PRAGMA synchronous=NORMAL;"
               "CREATE TABLE IF NOT EXISTS capstan_bench(id INTEGER PRIMARY KEY, payload TEXT)",
               nullptr, nullptr, nullptr);
  std::vector<double> latencies_us;
  int failures = 0;
  const auto begin = Clock::now();
  while (SecondsSince(begin) < seconds) {
    const auto commit_begin = Clock::now();
    failures += sqlite3_exec(database, "INSERT INTO capstan_bench(payload) VALUES(randomblob(200))",
                             nullptr, nullptr, nullptr) != SQLITE_OK;
    latencies_us.push_back(SecondsSince(commit_begin) * 1e6);
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  std::ranges::sort(latencies_us);
  const auto at = [&](double share) {
    return latencies_us[static_cast<std::size_t>(share *
                                                 static_cast<double>(latencies_us.size() - 1))];
  };
  fmt::print(
      "{:<24} {:>7} commits, failed {}, us: p50 {:.0f} p95 {:.0f} p99 {:.0f} p99.9 {:.0f} max "
      "{:.0f}\n",
      what, latencies_us.size(), failures, at(0.5), at(0.95), at(0.99), at(0.999), at(1.0));
  std::fflush(stdout);
  sqlite3_close(database);
  return 0;
}

// Backups back to back while the application runs, or nothing.
void MeasureCommits(const std::string& path, int seconds, bool with_backups) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(
        CommitAndReport(path, seconds, with_backups ? "commits during backups" : "commits alone"));
  }
  int backups = 0;
  SqliteWriter writer;
  while (::waitpid(child, nullptr, WNOHANG) == 0) {
    if (with_backups) {
      ReadThroughWriter(writer, path, true);
      ++backups;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  if (with_backups) {
    fmt::print("{:<24} {:>7}\n", "backups meanwhile", backups);
  }
}

}  // namespace
}  // namespace capstan::writers

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: sqlite_backup_bench DATABASE [SECONDS]\n");
    return 2;
  }
  const std::string path = argv[1];
  const int seconds = argc > 2 ? std::atoi(argv[2]) : 10;
  capstan::writers::MeasureReading(path);
  for (int round = 0; round < 2; ++round) {
    capstan::writers::MeasureCommits(path, seconds, false);
    capstan::writers::MeasureCommits(path, seconds, true);
  }
  return 0;
}
