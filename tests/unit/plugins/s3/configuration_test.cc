#include "plugins/s3/configuration.h"

#include <cerrno>
#include <fstream>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/unit/plugins/s3/s3_fixture.h"

namespace capstan::test {
namespace {

using s3::Addressing;
using s3::ObjectLock;
using testing::HasSubstr;

class ConfigurationTest : public S3Test {
 protected:
  void Write(const std::string& text) { std::ofstream(directory_.Under("s3.toml")) << text; }

  std::string WriteCredentials(const std::string& text, mode_t mode = 0600) {
    const std::string path = directory_.Under("credentials.toml");
    std::ofstream(path) << text;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }

  static s3::MediumUrl Url(const std::string& target) {
    s3::MediumUrl url;
    EXPECT_EQ(s3::MediumUrl::Parse(target, &url).message, "");
    return url;
  }

  s3::Settings Load(const std::string& target = "s3://backups/sales.bak") {
    s3::Settings settings;
    EXPECT_EQ(s3::LoadSettings(Url(target), &settings).message, "");
    return settings;
  }

  s3::Failure LoadError() {
    s3::Settings settings;
    return s3::LoadSettings(Url("s3://backups/sales.bak"), &settings);
  }

  static s3::Place PlaceAt(const std::string& target, const s3::Settings& settings) {
    s3::Place place;
    EXPECT_EQ(s3::PlaceOf(Url(target), settings, &place).message, "");
    return place;
  }
};

TEST_F(ConfigurationTest, LongestScopeWins) {
  Write(R"(
region = "everywhere"
retry_for_s = 7
object_lock = "governance"
[[scope]]
url = "s3://backups/production"
region = "production"
addressing = "virtual"
object_lock = "compliance"
[[scope]]
url = "s3://backups"
region = "backups"
)");

  EXPECT_EQ(Load("s3://other/a").region, "everywhere");
  EXPECT_EQ(Load("s3://backups/a").region, "backups");
  EXPECT_EQ(Load("s3://backups-2/a").region, "everywhere");
  EXPECT_EQ(Load("s3://backups/a").object_lock, ObjectLock::kGovernance);
  const s3::Settings production = Load("s3://backups/production/a");
  EXPECT_EQ(production.region, "production");
  EXPECT_EQ(production.addressing, Addressing::kVirtualHost);
  EXPECT_EQ(production.object_lock, ObjectLock::kCompliance);
  EXPECT_EQ(production.retry_for_s, 7);
}

// What the agent's configuration says counts more than the file in general, less than its scopes.
TEST_F(ConfigurationTest, OptionsOfTheAgentStandBetweenFileAndScopes) {
  Write("connect_timeout_s = 5\n[[scope]]\nurl = \"s3://other\"\nconnect_timeout_s = 6\n");

  EXPECT_EQ(s3::Configure("connect_timeout_s", "7").message, "");
  EXPECT_EQ(Load().connect_timeout_s, 7);
  EXPECT_EQ(Load("s3://other/a").connect_timeout_s, 6);

  EXPECT_EQ(s3::Configure("connect_timeout_s", "10").message, "");  // as it was
}

TEST_F(ConfigurationTest, OptionsThatNobodyKnowsAreRefused) {
  Write("");
  const s3::Failure unknown = s3::Configure("colour", "red");
  EXPECT_EQ(unknown.os_error, EINVAL);
  EXPECT_THAT(unknown.message, HasSubstr("unknown key 'colour'; known are"));
  EXPECT_THAT(unknown.message, HasSubstr("endpoint"));
  EXPECT_THAT(s3::Configure("part_size_mb", "4").message,
              HasSubstr("part_size_mb must be a number from 5 to 1024"));
  EXPECT_THAT(s3::Configure("part_size_mb", "many").message, HasSubstr("must be a number"));
  EXPECT_THAT(s3::Configure("addressing", "sideways").message, HasSubstr("auto, path, virtual"));
  EXPECT_EQ(Load().part_size_mb, s3::Settings{}.part_size_mb);
}

TEST_F(ConfigurationTest, EnvironmentOverrules) {
  Write("endpoint = \"https://file\"\n");
  const Environment environment({{"CAPSTAN_S3_ENDPOINT", "https://environment"},
                                 {"CAPSTAN_S3_REGION", "there"},
                                 {"CAPSTAN_S3_CA_FILE", "/ca.pem"}});

  const s3::Settings settings = Load();

  EXPECT_EQ(settings.endpoint, "https://environment");
  EXPECT_EQ(settings.region, "there");
  EXPECT_EQ(settings.ca_file, "/ca.pem");
}

TEST_F(ConfigurationTest, MistakesAreNamedWithTheirLine) {
  const std::pair<const char*, const char*> mistakes[] = {
      {"\nendpont = \"https://x\"\n", "line 2: unknown key 'endpont'"},
      {"region = 3\n", "line 1: region must be a text that is not empty"},
      {"part_size_mb = 4\n", "line 1: part_size_mb must be a number from 5 to 1024"},
      {"retry_for_s = \"long\"\n", "line 1: retry_for_s must be a number"},
      {"addressing = \"host\"\n", "line 1: expected one of auto, path, virtual"},
      {"[[scope]]\nurl = \"s3://backups\"\nkey = 1\n", "line 3: unknown key 'key'"},
      {"region =\n", "line 1: "},
      {"memory_mb = 5\n", "memory_mb must not be less than part_size_mb"},
  };
  for (const auto& [text, words] : mistakes) {
    Write(text);
    EXPECT_EQ(LoadError().os_error, EINVAL) << text;
    EXPECT_THAT(LoadError().message, HasSubstr(words)) << text;
  }
}

TEST_F(ConfigurationTest, MissingFileThatIsNamedIsAMistake) {
  EXPECT_TRUE(LoadError().failed());
}

TEST_F(ConfigurationTest, CredentialFileWinsOverTheEnvironment) {
  const Environment environment(
      std::map<std::string, std::string>{{"CAPSTAN_CREDENTIALS", WriteCredentials(R"(
[[credential]]
name = "s3://backups"
identity = "S3 Access Key"
secret = "general:secret:with:colons"
[[credential]]
name = "s3://backups/production"
secret = "special:secret"
)")}});
  s3::Credentials credentials;

  ASSERT_EQ(LoadCredentials(Url("s3://backups/a"), &credentials).message, "");
  EXPECT_EQ(credentials.access_key, "general");
  EXPECT_EQ(credentials.secret_key, "secret:with:colons");
  ASSERT_EQ(LoadCredentials(Url("s3://backups/production/a"), &credentials).message, "");
  EXPECT_EQ(credentials.access_key, "special");
  ASSERT_EQ(LoadCredentials(Url("s3://other/a"), &credentials).message, "");
  EXPECT_EQ(credentials.access_key, "id");
}

TEST_F(ConfigurationTest, SecretsThatOthersCanReadAreRefused) {
  const Environment environment(
      std::map<std::string, std::string>{{"CAPSTAN_CREDENTIALS", WriteCredentials("", 0640)}});
  s3::Credentials credentials;

  const s3::Failure failure = LoadCredentials(Url("s3://backups/a"), &credentials);

  EXPECT_EQ(failure.os_error, EACCES);
  EXPECT_THAT(failure.hint, HasSubstr("chmod 600"));
}

TEST_F(ConfigurationTest, SecretWithoutAColonIsRefusedAndNotTold) {
  const Environment environment(
      std::map<std::string, std::string>{{"CAPSTAN_CREDENTIALS", WriteCredentials(R"(
[[credential]]
name = "s3://backups"
secret = "topsecret"
)")}});
  s3::Credentials credentials;

  const s3::Failure failure = LoadCredentials(Url("s3://backups/a"), &credentials);

  EXPECT_EQ(failure.os_error, EINVAL);
  EXPECT_THAT(failure.message, testing::Not(HasSubstr("topsecret")));
}

TEST_F(ConfigurationTest, WithoutCredentialsTheStatementThatMakesOneIsNamed) {
  const Environment environment(std::map<std::string, std::string>{{"AWS_ACCESS_KEY_ID", ""}});
  s3::Credentials credentials;

  const s3::Failure failure = LoadCredentials(Url("s3://host:7480/backups/a"), &credentials);

  EXPECT_EQ(failure.os_error, EKEYREJECTED);
  EXPECT_THAT(failure.hint, HasSubstr("CREATE CREDENTIAL [s3://host:7480/backups]"));
}

TEST_F(ConfigurationTest, PlaceFollowsFromEndpointAndAddressing) {
  const s3::Settings aws{.region = "eu-west-1"};
  EXPECT_EQ(PlaceAt("s3://backups/a", aws).origin, "https://backups.s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(PlaceAt("s3://backups/a", aws).prefix, "");
  EXPECT_EQ(PlaceAt("s3://back.ups/a", aws).origin, "https://s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(PlaceAt("s3://back.ups/a", aws).prefix, "/back.ups");
  EXPECT_EQ(PlaceAt("s3://host:7480/backups/a", aws).origin, "https://host:7480");
  EXPECT_EQ(PlaceAt("s3://host:7480/backups/a", aws).prefix, "/backups");
  const s3::Settings own{.endpoint = "http://host:80/", .addressing = Addressing::kVirtualHost};
  EXPECT_EQ(PlaceAt("s3://backups/a", own).host, "backups.host:80");
}

TEST_F(ConfigurationTest, EndpointMustBeAHost) {
  for (const char* const endpoint : {"host:80", "ftp://host", "https://", "https://host/path"}) {
    s3::Place place;
    EXPECT_EQ(PlaceOf(Url("s3://backups/a"), {.endpoint = endpoint}, &place).os_error, EINVAL)
        << endpoint;
  }
}

}  // namespace
}  // namespace capstan::test
