#include "statement.h"

#include <cstdio>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace vendor {
namespace {

std::string Doubled(const std::string& text, char special) {
  std::string result;
  for (char c : text) {
    result.append(c == special ? 2 : 1, c);
  }
  return result;
}

void ReadAll(int source, std::string* output) {
  char part[4096];
  ssize_t size;
  while ((size = read(source, part, sizeof part)) > 0) {
    output->append(part, static_cast<std::size_t>(size));
  }
}

}  // namespace

Statement::Statement(const Arguments& arguments, const std::string& text) {
  std::vector<std::string> words = {"sqlcmd",
                                    "-U",
                                    arguments.Get("user", "sa"),
                                    "-P",
                                    arguments.Get("password", "none"),
                                    "-S",
                                    ".",
                                    "-b",
                                    "-Q",
                                    text};
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(&word[0]);
  }
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return;
  }
  sqlcmd_ = fork();
  if (sqlcmd_ == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    execvp(argv[0], argv.data());
    static const char kMissing[] = "unable to run sqlcmd\n";
    _exit(write(STDERR_FILENO, kMissing, sizeof kMissing - 1) > 0 ? 127 : 126);
  }
  close(ends[1]);
  output_pipe_ = ends[0];
  reader_ = std::thread(ReadAll, output_pipe_, &output_);
}

Statement::~Statement() {
  Wait();
}

bool Statement::ended() {
  Reap(WNOHANG);
  return sqlcmd_ == -1;
}

const std::string& Statement::Wait() {
  if (reader_.joinable()) {
    reader_.join();
    close(output_pipe_);
  }
  Reap(0);
  return output_;
}

void Statement::Reap(int options) {
  if (sqlcmd_ != -1 && waitpid(sqlcmd_, nullptr, options) == sqlcmd_) {
    sqlcmd_ = -1;
  }
}

bool Statement::succeeded() {
  const std::string& output = Wait();
  return output.find(" successfully processed ") != std::string::npos &&
         output.find("Msg 3013,") == std::string::npos;
}

std::string Quoted(const std::string& text) {
  return "'" + Doubled(text, '\'') + "'";
}

std::string Bracketed(const std::string& name) {
  return "[" + Doubled(name, ']') + "]";
}

}  // namespace vendor
