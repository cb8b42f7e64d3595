// certificate and catalog: what the server keeps.
#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/row_reader.h"
#include "tools/client/credentials.h"

namespace capstan::cli {
namespace {

using CertificateStatement = std::string (*)(std::string_view name, std::string_view file,
                                             std::string_view key_file,
                                             std::string_view key_passphrase);

ExitStatus RunWithKeyFile(Session& session, const CertificateOptions& options,
                          CertificateStatement statement) {
  std::string passphrase;
  if (!options.key_passphrase_file.empty()) {
    Result<std::string> read = ReadPasswordFile(options.key_passphrase_file);
    if (!read.ok()) {
      return ReportFailure(session.console, read.status());
    }
    passphrase = *std::move(read);
  }
  return RunStatement(session, statement(options.name, options.file, options.key_file, passphrase),
                      {});
}

}  // namespace

ExitStatus RunCertificateAdd(Session& session, const CertificateOptions& options) {
  if (!options.file.empty()) {
    return RunWithKeyFile(session, options, ImportCertificateStatement);
  }
  const std::string& subject = options.subject.empty() ? options.name : options.subject;
  return RunStatement(session, CreateCertificateStatement(options.name, subject), {});
}

ExitStatus RunCertificateExport(Session& session, const CertificateOptions& options) {
  return RunWithKeyFile(session, options, ExportCertificateStatement);
}

ExitStatus RunCertificateRemove(Session& session, const std::string& name) {
  return RunStatement(session, DropCertificateStatement(name), {});
}

ExitStatus RunCatalogRebuild(Session& session, const RebuildOptions& options) {
  ResultSet media;
  for (std::size_t done = 0; done < options.paths.size(); done += kLoadPathsMax) {
    const auto begin = options.paths.begin() + static_cast<std::ptrdiff_t>(done);
    const std::size_t count = std::min(kLoadPathsMax, options.paths.size() - done);
    QueryResult result =
        Query(session, LoadHistoryStatement({begin, begin + static_cast<std::ptrdiff_t>(count)}));
    if (result.status != ExitStatus::kDone) {
      return result.status;
    }
    ResultSet& some = result.result_sets.front();
    media.columns = std::move(some.columns);
    std::move(some.rows.begin(), some.rows.end(), std::back_inserter(media.rows));
  }
  PrintResultSet(session.console, media, options.format);
  std::uint64_t added = 0;
  std::size_t unread = 0;
  for (const Row& row : media.rows) {
    const RowReader reader(media, row);
    const std::string status = reader.Text("status");
    unread += status == "damaged" || status == "not read" ? 1 : 0;
    added += reader.Unsigned("sets_added").value_or(0);
  }
  const std::string summary =
      fmt::format("{} media, {} of them not readable, gave the history {} more backup sets.\n",
                  media.rows.size(), unread, added);
  if (options.format == OutputFormat::kTable) {
    session.console.Out(summary);
  }
  return unread == 0 ? ExitStatus::kDone : ExitStatus::kFailed;
}

}  // namespace capstan::cli
