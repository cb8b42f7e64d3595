#include "tools/capstan/commands/commands.h"

namespace capstan::cli {

ExitStatus RunDatabaseAdd(Session& session, const std::string& name, const std::string& location) {
  return RunStatement(session, AttachStatement(name, location), {});
}

ExitStatus RunDatabaseSet(Session& session, const std::string& name, const std::string& recovery,
                          const std::string& preference) {
  return RunStatement(session, AlterDatabaseStatement(name, recovery, preference), {});
}

ExitStatus RunDatabaseDiscover(Session& session, const std::vector<std::string>& folders,
                               OutputFormat format) {
  return RunStatement(session, DiscoverStatement(folders), {.format = format});
}

ExitStatus RunExpire(Session& session, const ExpireOptions& options, OutputFormat format) {
  return RunStatement(session, ExpireStatement(options), {.format = format});
}

ExitStatus RunDatabaseRemove(Session& session, const std::string& name) {
  return RunStatement(session, DetachStatement(name), {});
}

}  // namespace capstan::cli
