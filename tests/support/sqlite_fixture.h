// What tests of the SQLite writer share: SQL in one line, whole backups and restores through the
// writer's interface, and child processes.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/writers/database_writer.h"
#include "vdi/base/status.h"

namespace capstan::test {

// A plain SQLite connection, as an application has one.
class Application {
 public:
  explicit Application(const std::string& path, int busy_timeout_ms = 30000) {
    sqlite3_open(path.c_str(), &database_);
    sqlite3_busy_timeout(database_, busy_timeout_ms);
  }
  ~Application() { sqlite3_close_v2(database_); }
  Application(const Application&) = delete;
  Application& operator=(const Application&) = delete;

  // SQLite's primary result code.
  int TryRun(const std::string& sql) {
    return sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) & 0xff;
  }
  void Run(const std::string& sql) {
    ASSERT_EQ(TryRun(sql), SQLITE_OK) << sql << ": " << sqlite3_errmsg(database_);
  }
  // First column of the first row, or the error's text.
  std::string Ask(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    std::string answer;
    if (sqlite3_prepare_v2(database_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
      const unsigned char* text = sqlite3_column_text(statement, 0);
      answer = text != nullptr ? reinterpret_cast<const char*>(text) : "NULL";
    } else {
      answer = std::string("error: ") + sqlite3_errmsg(database_);
    }
    sqlite3_finalize(statement);
    return answer;
  }
  sqlite3* handle() { return database_; }

 private:
  sqlite3* database_ = nullptr;
};

// `count` rows (id, payload, sum of all ids so far), so that a prefix can be recognised.
inline void InsertRows(Application& application, int first, int count) {
  application.Run("BEGIN IMMEDIATE");
  application.Run("WITH RECURSIVE n(i) AS (SELECT " + std::to_string(first) +
                  " UNION ALL SELECT i+1 FROM n " + "WHERE i < " +
                  std::to_string(first + count - 1) +
                  ") INSERT INTO t SELECT i, hex(randomblob(100)), i*(i+1)/2 FROM n");
  application.Run("COMMIT");
}

inline void MakeDatabase(const std::string& path, const std::string& journal_mode, int rows,
                         int page_size = 4096) {
  Application application(path);
  application.Run("PRAGMA page_size=" + std::to_string(page_size));
  application.Run("PRAGMA journal_mode=" + journal_mode);
  application.Run("CREATE TABLE t(id INTEGER PRIMARY KEY, payload TEXT, sum INTEGER)");
  if (rows > 0) {
    InsertRows(application, 1, rows);
  }
}

// Empty if the database is whole and its rows are an unbroken prefix of what InsertRows makes.
inline std::string FaultOf(const std::string& path) {
  Application application(path);
  if (const std::string verdict = application.Ask("PRAGMA integrity_check"); verdict != "ok") {
    return verdict;
  }
  return application.Ask(
      "SELECT CASE WHEN count(*) = coalesce(max(id), 0) AND coalesce(max(sum), 0) = "
      "coalesce(sum(id), 0) THEN '' ELSE 'rows are missing' END FROM t");
}

inline std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void WriteWhole(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// The whole view, read in extents of at most `length_max` bytes to odd addresses.
inline Result<std::string> ReadAll(writers::BackupSession& session, std::uint32_t length_max) {
  std::string image(session.description().files[0].size_bytes, '\xee');
  std::vector<std::byte> buffer(length_max + 1);
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(auto extent, session.NextExtent(0, length_max));
    if (!extent) {
      return image;
    }
    CAPSTAN_RETURN_IF_ERROR(
        session.ReadExtent(*extent, std::span(buffer).subspan(1, extent->length)));
    std::copy_n(reinterpret_cast<const char*>(buffer.data() + 1), extent->length,
                image.begin() + static_cast<std::ptrdiff_t>(extent->offset));
  }
}

// A full backup of `path` as an image of the database file.
inline Result<std::string> BackUp(writers::DatabaseWriter& writer, const std::string& path,
                                  std::uint32_t length_max = 1 << 20) {
  CAPSTAN_ASSIGN_OR_RETURN(auto session, writer.BeginBackup(path, "db", {}));
  CAPSTAN_ASSIGN_OR_RETURN(std::string image, ReadAll(*session, length_max));
  CAPSTAN_RETURN_IF_ERROR(session->End());
  return image;
}

inline Status WriteImage(writers::RestoreSession& session, const std::string& image,
                         std::size_t length_max = 100000) {
  for (std::size_t offset = 0; offset < image.size(); offset += length_max) {
    const std::size_t length = std::min(length_max, image.size() - offset);
    CAPSTAN_RETURN_IF_ERROR(session.WriteExtent(
        {.file_index = 0, .offset = offset, .length = static_cast<std::uint32_t>(length)},
        std::as_bytes(std::span(image).subspan(offset, length))));
  }
  return OkStatus();
}

inline writers::RestoreTarget TargetFor(const std::string& path, const std::string& image) {
  return {.file = {.logical_name = "db", .physical_name = path, .size_bytes = image.size()},
          .physical_name = path};
}

inline Status Restore(writers::DatabaseWriter& writer, const std::string& path,
                      const std::string& image, bool replace) {
  const writers::RestoreTarget target = TargetFor(path, image);
  CAPSTAN_ASSIGN_OR_RETURN(auto session,
                           writer.BeginRestore({&target, 1}, {.replace = replace,
                                                              .job_name = "job-1",
                                                              .lock_deadline = Deadline::Now()}));
  CAPSTAN_RETURN_IF_ERROR(WriteImage(*session, image));
  return session->Commit().status();
}

// Runs `body` in a child process; its result is the exit status. Killed when this object goes, or
// the parent.
class ForkedProcess {
 public:
  explicit ForkedProcess(const std::function<int()>& body) : pid_(::fork()) {
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::_exit(body());
    }
  }
  ~ForkedProcess() {
    if (pid_ > 0) {
      (void)Kill();
    }
  }
  ForkedProcess(const ForkedProcess&) = delete;
  ForkedProcess& operator=(const ForkedProcess&) = delete;

  // Exit status, or 1000 + signal.
  int Wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  int Kill() {
    ::kill(pid_, SIGKILL);
    return Wait();
  }

 private:
  pid_t pid_;
};

inline int RunInChild(const std::function<int()>& body) {
  return ForkedProcess(body).Wait();
}

// Another process with connections of its own. Made before this process opens the database: SQLite
// keeps its locks in a table of the process, and a child forked later would inherit that table and
// take our locks for its own.
class OtherProcess {
 public:
  explicit OtherProcess(const std::string& path) {
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets_) != 0) {
      std::abort();
    }
    child_ = std::make_unique<ForkedProcess>([this, path] {
      std::string sql(1000, '\0');
      while (true) {
        const ssize_t length = ::read(sockets_[1], sql.data(), sql.size());
        if (length <= 0) {
          return 0;
        }
        const int code = Application(path, 0).TryRun(sql.substr(0, static_cast<size_t>(length)));
        (void)!::write(sockets_[1], &code, sizeof code);
      }
    });
  }
  ~OtherProcess() {
    ::close(sockets_[0]);
    ::close(sockets_[1]);
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;

  // SQLite's primary result code of `sql` on a new connection that does not wait.
  int TryRun(const std::string& sql) {
    int code = -1;
    (void)!::write(sockets_[0], sql.data(), sql.size());
    (void)!::read(sockets_[0], &code, sizeof code);
    return code;
  }

 private:
  int sockets_[2] = {-1, -1};
  std::unique_ptr<ForkedProcess> child_;
};

}  // namespace capstan::test
