// Configuration: where a medium's bucket is, who we are there, and how hard to try.
//
// Four sources, the later wins: the file that CAPSTAN_S3_CONFIG names (/etc/capstan/s3.toml if it
// is not set), the options of the agent's configuration (Configure), the [[scope]] of the file with
// the longest `url` that the medium's name begins with, and the environment. Keys have the names of
// Settings' members, but for the secrets:
//
//   endpoint = "https://s3.eu-central-1.amazonaws.com"
//   region = "eu-central-1"
//   [[scope]]
//   url = "s3://backups/production"
//   endpoint = "https://rgw.example.com:7480"
//   ca_file = "/etc/ssl/example-ca.pem"
//
// Secrets are in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or
// in the file that CREATE CREDENTIAL writes and CAPSTAN_CREDENTIALS names, mode 0600, which wins
// where it has an entry for the medium:
//
//   [[credential]]
//   name = "s3://backups"
//   identity = "S3 Access Key"
//   secret = "id:secret"
//
// All of it is read anew for each medium. Threads: any.
#pragma once

#include <string>

#include "plugins/s3/failure.h"
#include "plugins/s3/medium_url.h"
#include "plugins/s3/sigv4.h"

namespace capstan::s3 {

enum class Addressing { kAutomatic, kPath, kVirtualHost };  // "auto", "path", "virtual"
enum class ObjectLock { kNone, kGovernance, kCompliance };  // "off", "governance", "compliance"

struct Settings {
  std::string endpoint;              // default: AWS's of the region
  std::string region = "us-east-1";  // of the signature
  std::string ca_file;               // default: the system's authorities
  Addressing addressing = Addressing::kAutomatic;
  // How RETAINDAYS is kept by the bucket; off: it is not.
  ObjectLock object_lock = ObjectLock::kNone;
  int object_lock_days = 0;  // objects are locked this long at least, 0..36500
  int part_size_mb = 8;      // of the first parts of an object, 5..1024
  int memory_mb = 24;        // for parts being filled and sent, of all devices, 5..65536
  int retry_for_s = 50;      // a request is tried again this long, 0..86400
  int stall_s = 20;          // a transfer slower than 1 KiB/s for this long is begun anew, 1..3600
  int connect_timeout_s = 10;   // 1..600
  int abandoned_after_h = 168;  // writes that nobody settled are removed, 0..87600
};

// Options of the agent's configuration count for all media that are opened later. EINVAL: there is
// no such key, or the value is none for it.
Failure Configure(const std::string& key, const std::string& value);

// EINVAL: the file is wrong, with its line; EACCES: the secrets' file can be read by others;
// EKEYREJECTED: there are no credentials for the medium.
Failure LoadSettings(const MediumUrl& url, Settings* settings);
Failure LoadCredentials(const MediumUrl& url, Credentials* credentials);

// Where the requests for a bucket go.
struct Place {
  std::string origin;  // "https://host:port"
  std::string host;    // "host:port", as in the header Host
  std::string prefix;  // of a path, raw: "/bucket" or ""
};

Failure PlaceOf(const MediumUrl& url, const Settings& settings, Place* place);

}  // namespace capstan::s3
