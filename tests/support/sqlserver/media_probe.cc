// Prints what the server says of media files, one JSON object per file and line: the result sets of
// LABELONLY, HEADERONLY and the FILELISTONLY of every set, or the error; and what verifying its
// first set finds ("" if nothing).
//
//   sqlserver_media_probe MEDIA_PASSWORD FILE...
#include <cstdio>
#include <fstream>
#include <string>

#include <fmt/format.h>

#include "server/coordinator/listings.h"
#include "server/media/sqlserver/verifier.h"
#include "tests/support/file_source.h"

namespace {

using namespace capstan;  // NOLINT(google-build-using-namespace): the whole program

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string Json(const catalog::Table& table) {
  std::string rows;
  for (const auto& row : table.rows) {
    std::string cells;
    for (std::size_t i = 0; i < row.size(); ++i) {
      cells += fmt::format("{}{}: {}", i == 0 ? "" : ", ", Quoted(table.columns[i].name),
                           row[i] ? Quoted(*row[i]) : "null");
    }
    rows += fmt::format("{}{{{}}}", rows.empty() ? "" : ", ", cells);
  }
  return "[" + rows + "]";
}

std::string Verified(const std::string& path, const std::string& password) {
  test::FileSource source(path, test::FileSource::Access::kForward);
  const auto findings = media::sqlserver::VerifyFamily(source, {.media_password = password});
  if (!findings.ok()) {
    return findings.status().ToString();
  }
  const bool alone = findings->header.family_count == 1;
  const Status together = alone ? media::sqlserver::VerifyTogether({findings.value()}) : OkStatus();
  return together.ok() ? "" : together.ToString();
}

std::string Probe(const std::string& path, const std::string& password) {
  test::FileSource source(path);
  const Result<media::MediumListing> listing = media::ReadListing(source);
  if (!listing.ok()) {
    return fmt::format("{{\"file\": {}, \"error\": {}, \"reason\": {}}}", Quoted(path),
                       Quoted(listing.status().ToString()), listing.status().reason());
  }
  std::string files;
  for (const media::SetListing& set : listing->sets) {
    files += (files.empty() ? "" : ", ") + Json(coordinator::FileListTable(set));
  }
  return fmt::format(
      "{{\"file\": {}, \"label\": {}, \"headers\": {}, \"files\": [{}], \"bytes_read\": {}, "
      "\"verified\": {}}}",
      Quoted(path), Json(coordinator::LabelOnlyTable(listing->header)),
      Json(coordinator::HeaderOnlyTable(*listing, {})), files, source.bytes_read(),
      Quoted(Verified(path, password)));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string password = argc > 1 ? argv[1] : "";
  for (int i = 2; i < argc; ++i) {
    std::puts(Probe(argv[i], password).c_str());
  }
  return 0;
}
