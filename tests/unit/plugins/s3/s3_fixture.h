// A client of the S3 plugin and a scripted server, for the tests of what happens when things go
// wrong.
#pragma once

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "plugins/s3/object_store.h"
#include "tests/support/scripted_http.h"
#include "tests/support/temporary_directory.h"

namespace capstan::test {

// Sets variables of the environment for as long as it lives; an empty value takes one away.
class Environment {
 public:
  explicit Environment(std::map<std::string, std::string> values) {
    for (const auto& [name, value] : values) {
      const char* const before = std::getenv(name.c_str());
      before_[name] = before == nullptr ? "" : before;
      Set(name, value);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : before_) {
      Set(name, value);
    }
  }

 private:
  static void Set(const std::string& name, const std::string& value) {
    if (value.empty()) {
      ::unsetenv(name.c_str());
    } else {
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }

  std::map<std::string, std::string> before_;
};

class S3Test : public testing::Test {
 protected:
  // A bucket "media" at a server that follows the script; `settings` are lines of the
  // configuration.
  void Serve(ScriptedHttp::Script script, const std::string& settings = "") {
    server_ = std::make_unique<ScriptedHttp>(std::move(script));
    std::ofstream(directory_.Under("s3.toml"))
        << "endpoint = \"" << server_->endpoint() << "\"\nretry_for_s = " << retry_for_s_ << "\n"
        << settings;
    s3::MediumUrl url;
    ASSERT_EQ(s3::MediumUrl::Parse("s3://media/folder/sales.bak", &url).message, "");
    ASSERT_EQ(s3::ObjectStore::Open(http_, url, &store_).message, "");
  }

  static ScriptedReply ErrorReply(int status, const std::string& code, const std::string& message,
                                  const std::string& more = "") {
    return {.status = status,
            .headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}},
            .body = "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>" + message +
                    "</Message>" + more + "</Error>"};
  }

  TemporaryDirectory directory_;
  int retry_for_s_ = 20;
  Environment environment_{{{"CAPSTAN_S3_CONFIG", directory_.Under("s3.toml")},
                            {"CAPSTAN_CREDENTIALS", ""},
                            {"CAPSTAN_S3_ENDPOINT", ""},
                            {"CAPSTAN_S3_REGION", ""},
                            {"CAPSTAN_S3_CA_FILE", ""},
                            {"AWS_SESSION_TOKEN", ""},
                            {"AWS_ACCESS_KEY_ID", "id"},
                            {"AWS_SECRET_ACCESS_KEY", "secret"}}};
  s3::HttpClient http_;
  std::unique_ptr<ScriptedHttp> server_;
  std::unique_ptr<s3::ObjectStore> store_;
};

}  // namespace capstan::test
