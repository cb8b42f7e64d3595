#include "server/coordinator/config.h"

#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using ::testing::AllOf;

class ConfigTest : public ::testing::Test {
 protected:
  Status Apply(const std::string& text) {
    const std::string path = directory_.Under("capstan.toml");
    std::ofstream(path) << text;
    return ApplyFile(path, &config_);
  }

  test::TemporaryDirectory directory_;
  ServerConfig config_;
};

TEST_F(ConfigTest, AnEmptyFileChangesNothing) {
  ASSERT_THAT(Apply(""), IsOk());

  EXPECT_EQ(config_.buffer_memory_mb, 1024);
  EXPECT_EQ(config_.agent_lease_s, 10);
  EXPECT_EQ(config_.authentication, Authentication::kNone);
  ASSERT_EQ(config_.agents.size(), 1U);
  EXPECT_EQ(config_.agents[0].plugin, "disk");
}

TEST_F(ConfigTest, ReadsEveryKey) {
  ASSERT_THAT(Apply(R"(
data_dir = "/var/lib/capstan"
socket = "/run/capstan/capstand.sock"
vdi_socket = "/run/capstan/devices.sock"
buffer_memory_mb = 16
device_timeout_s = 1
open_timeout_s = 2
database_timeout_s = 3
recover_timeout_s = 4
checkpoint_s = 3
checkpoint_mb = 5
agent_lease_s = 5
virtual_device_wait_s = 0
authentication = "password"
log_level = "debug"
server_name = "SALES"
machine_name = "host7"
start_agents = false
agent_program = "/opt/capstan-agent"
log_folder = "/var/log_spool"
log_limit_mb = 7
discovery_folders = ["/srv", "/home/db"]
[[agent]]
plugin = "disk"
[[agent]]
name = "vault"
plugin = "/opt/vault.so"
)"),
              IsOk());

  EXPECT_EQ(config_.data_dir, "/var/lib/capstan");
  EXPECT_EQ(config_.socket, "/run/capstan/capstand.sock");
  EXPECT_EQ(config_.vdi_socket, "/run/capstan/devices.sock");
  EXPECT_EQ(config_.buffer_memory_mb, 16);
  EXPECT_EQ(config_.device_timeout_s, 1);
  EXPECT_EQ(config_.open_timeout_s, 2);
  EXPECT_EQ(config_.database_timeout_s, 3);
  EXPECT_EQ(config_.recover_timeout_s, 4);
  EXPECT_EQ(config_.checkpoint_s, 3);
  EXPECT_EQ(config_.checkpoint_mb, 5);
  EXPECT_EQ(config_.agent_lease_s, 5);
  EXPECT_EQ(config_.virtual_device_wait_s, 0);
  EXPECT_EQ(config_.authentication, Authentication::kPassword);
  EXPECT_EQ(config_.log_level, LogLevel::kDebug);
  EXPECT_EQ(config_.server_name, "SALES");
  EXPECT_EQ(config_.machine_name, "host7");
  EXPECT_FALSE(config_.start_agents);
  EXPECT_EQ(config_.agent_program, "/opt/capstan-agent");
  EXPECT_EQ(config_.log_folder, "/var/log_spool");
  EXPECT_EQ(config_.log_limit_mb, 7);
  EXPECT_THAT(config_.discovery_folders, ::testing::ElementsAre("/srv", "/home/db"));
  ASSERT_EQ(config_.agents.size(), 2U);
  EXPECT_EQ(config_.agents[0].name, "disk");
  EXPECT_EQ(config_.agents[1].name, "vault");
  EXPECT_EQ(config_.agents[1].plugin, "/opt/vault.so");
}

struct BadFile {
  const char* text;
  const char* message;
};

class ConfigErrorTest : public ConfigTest, public ::testing::WithParamInterface<BadFile> {};

TEST_P(ConfigErrorTest, NamesTheLine) {
  const Status status = Apply(std::string("# one\n\n") + GetParam().text);

  EXPECT_THAT(status, HasCode(Code::kInvalidArgument));
  EXPECT_THAT(status, AllOf(MessageHas("capstan.toml, line 3: "), MessageHas(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    EveryKind, ConfigErrorTest,
    ::testing::Values(
        BadFile{"socket = ", "value"}, BadFile{"sokcet = \"/run/x\"", "unknown key 'sokcet'"},
        BadFile{"socket = 7", "socket must be a text"},
        BadFile{"socket = \"\"", "socket must be a text that is not empty"},
        BadFile{"agent_lease_s = \"10\"", "agent_lease_s must be a whole number from 2 to 3600"},
        BadFile{"agent_lease_s = 1.5", "agent_lease_s must be a whole number"},
        BadFile{"agent_lease_s = 1", "from 2 to 3600"},
        BadFile{"buffer_memory_mb = 9223372036854775807", "from 16 to 1048576"},
        BadFile{"start_agents = 1", "must be true or false"},
        BadFile{"authentication = \"kerberos\"", "must be 'none' or 'password'"},
        BadFile{"log_level = \"loud\"", "'debug', 'info', 'warning' or 'error'"},
        BadFile{"agent = \"disk\"", "[[agent]]"}, BadFile{"agent = [\"disk\"]", "[[agent]]"},
        BadFile{"[agent]\nplugin = \"disk\"", "[[agent]]"},
        BadFile{"[[agent]]\nname = \"disk\"", "an agent needs a plugin"}));

TEST_F(ConfigTest, UnknownKeysOfAnAgentNameTheirLine) {
  EXPECT_THAT(Apply("[[agent]]\nplugin = \"disk\"\nplugln = \"s3\"\n"),
              MessageHas("line 3: unknown key 'plugln' of an agent"));
}

TEST_F(ConfigTest, OptionsOfAnAgentAreItsPluginsOwn) {
  ASSERT_THAT(
      Apply("[[agent]]\nplugin = \"s3\"\nmax_rate_mb = 100\nretry_for_s = 0\n"
            "options = { endpoint = \"http://a/?b=c\", parts = 8, tls = false, note = \"\" }\n"),
      IsOk());
  ASSERT_EQ(config_.agents.size(), 1U);
  const AgentConfig& agent = config_.agents[0];
  EXPECT_THAT(agent.options,
              testing::UnorderedElementsAre(
                  testing::Pair("endpoint", "http://a/?b=c"), testing::Pair("parts", "8"),
                  testing::Pair("tls", "false"), testing::Pair("note", "")));
  EXPECT_EQ(agent.max_rate_mb, 100);
  EXPECT_EQ(agent.retry_for_s, 0);
}

TEST_F(ConfigTest, WrongOptionsOfAnAgentNameTheirLine) {
  const std::string agent = "[[agent]]\nplugin = \"s3\"\n";
  EXPECT_THAT(Apply(agent + "options = \"a=b\"\n"), MessageHas("line 3: options are written as"));
  EXPECT_THAT(Apply(agent + "options = { a = 1.5 }\n"), MessageHas("line 3: option 'a' must be"));
  EXPECT_THAT(Apply(agent + "options = { a = [1] }\n"), MessageHas("option 'a' must be"));
  EXPECT_THAT(Apply(agent + "options = { \"a=b\" = \"c\" }\n"), MessageHas("cannot have"));
  EXPECT_THAT(Apply(agent + "options = { a = \"b\\nc\" }\n"), MessageHas("cannot have"));
  EXPECT_THAT(Apply(agent + "max_rate_mb = -1\n"), MessageHas("line 3: max_rate_mb must be"));
  EXPECT_THAT(Apply(agent + "retry_for_s = 86401\n"), MessageHas("from 0 to 86400"));
}

TEST_F(ConfigTest, AFileThatIsNotThereIsAnError) {
  EXPECT_THAT(ApplyFile(directory_.Under("none.toml"), &config_), HasCode(Code::kNotFound));
}

TEST_F(ConfigTest, CompleteDerivesPathsAndNames) {
  config_.data_dir = "/var/lib/capstan/";

  ASSERT_THAT(Complete(&config_), IsOk());

  EXPECT_EQ(config_.data_dir, "/var/lib/capstan");
  EXPECT_EQ(config_.socket, "/var/lib/capstan/capstand.sock");
  EXPECT_EQ(config_.vdi_socket, "/var/lib/capstan/vdi.sock");
  EXPECT_FALSE(config_.server_name.empty());
  EXPECT_FALSE(config_.machine_name.empty());
  EXPECT_TRUE(config_.agent_program.ends_with("/capstan-agent")) << config_.agent_program;
}

TEST_F(ConfigTest, CompletePutsTheDevicesSocketBesideTheOther) {
  config_.data_dir = "/var/lib/capstan";
  config_.socket = "/run/capstan/s";

  ASSERT_THAT(Complete(&config_), IsOk());

  EXPECT_EQ(config_.vdi_socket, "/run/capstan/vdi.sock");
}

TEST_F(ConfigTest, TheOwnersSocketMustFitToo) {
  config_.data_dir = "/" + std::string(90, 'x');
  config_.socket = "/run/s";
  config_.vdi_socket = "/run/v";
  EXPECT_THAT(Complete(&config_), IsOk());

  config_.authentication = Authentication::kPassword;

  EXPECT_EQ(OwnerSocket(config_), config_.data_dir + "/owner/capstand.sock");
  EXPECT_THAT(Complete(&config_), MessageHas("the owner's socket"));
}

TEST_F(ConfigTest, CompleteMakesPathsAbsolute) {
  config_.data_dir = "data";

  ASSERT_THAT(Complete(&config_), IsOk());

  EXPECT_EQ(config_.data_dir.front(), '/');
  EXPECT_TRUE(config_.data_dir.ends_with("/data"));
}

// Metrics ask for no password.
TEST_F(ConfigTest, MetricsAreForThisMachineUnlessOthersAreAllowed) {
  const auto complete = [this](const std::string& listen, bool allow_remote = false) {
    config_ = {};
    config_.data_dir = "/d";
    config_.metrics_listen = listen;
    config_.metrics_allow_remote = allow_remote;
    return Complete(&config_);
  };
  for (const char* listen :
       {"", "127.0.0.1:9464", "127.8.8.8:1", "localhost:65535", "[::1]:9464"}) {
    EXPECT_THAT(complete(listen), IsOk()) << listen;
  }
  for (const char* listen : {"0.0.0.0:9464", "10.0.0.1:9464", "[::]:9464", "example.com:9464"}) {
    EXPECT_THAT(complete(listen), MessageHas("open to other machines")) << listen;
    EXPECT_THAT(complete(listen, /*allow_remote=*/true), IsOk()) << listen;
  }
  for (const char* listen : {"9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
                             "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:80x"}) {
    EXPECT_THAT(complete(listen, true), MessageHas("is not ADDRESS:PORT")) << listen;
  }
  EXPECT_THAT(Apply("metrics_allow_remote = 1\n"), MessageHas("must be true or false"));
}

TEST_F(ConfigTest, CompleteRefusesWhatMakesNoSense) {
  EXPECT_THAT(Complete(&config_), MessageHas("no data directory"));

  config_.data_dir = "/" + std::string(120, 'x');
  EXPECT_THAT(Complete(&config_), MessageHas("a socket's path at most 107"));

  config_ = {};
  config_.data_dir = "/d";
  config_.socket = config_.vdi_socket = "/d/s";
  EXPECT_THAT(Complete(&config_), MessageHas("socket and vdi_socket are both '/d/s'"));

  config_ = {};
  config_.data_dir = "/d";
  config_.agents = {{.name = "a", .plugin = "disk"}, {.name = "a", .plugin = "s3"}};
  EXPECT_THAT(Complete(&config_), MessageHas("two agents are named 'a'"));
  config_.agents = {{.name = "a", .plugin = "disk", .retry_for_s = 60}};
  EXPECT_THAT(Complete(&config_), MessageHas("fails after device_timeout_s, 60"));
  config_.device_timeout_s = 61;
  EXPECT_THAT(Complete(&config_), IsOk());
}

TEST_F(ConfigTest, ReadsWhereDrivesLie) {
  ASSERT_THAT(Apply("[drive_map]\n\"e:\" = \"/srv/e\"\n\"\\\\\\\\server\\\\share\" = \"/mnt/s\"\n"),
              IsOk());

  EXPECT_EQ(config_.drive_map.Map(R"(E:\x.bak)").value(), "/srv/e/x.bak");
  EXPECT_EQ(config_.drive_map.Map(R"(\\server\share\x.bak)").value(), "/mnt/s/x.bak");
}

TEST_F(ConfigTest, RefusesDrivesThatMakeNoSense) {
  EXPECT_THAT(Apply("\n[drive_map]\nbackup = \"/srv/e\"\n"),
              AllOf(HasCode(Code::kInvalidArgument), MessageHas("line 2"),
                    MessageHas("neither a drive nor a share")));
  EXPECT_THAT(Apply("[drive_map]\n\"e:\" = 5\n"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(Apply("drive_map = \"e:\"\n"), MessageHas("[drive_map]"));
}

}  // namespace
}  // namespace capstan::coordinator
