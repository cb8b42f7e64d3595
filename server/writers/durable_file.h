// Small files of ours that are replaced as a whole, and folders made durable.
//
// A power cut at any instant leaves the old contents or the new ones; damage is noticed. Threads:
// any, each file from one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "server/writers/chain.h"
#include "vdi/base/guid.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// Lines "key=value" with a kind and a version in front and a hash behind them.
class KeyedRecord {
 public:
  void Set(const std::string& key, std::string value) { values_[key] = std::move(value); }
  void Set(const std::string& key, std::uint64_t value) { Set(key, std::to_string(value)); }
  void Set(const std::string& key, Lsn value) { Set(key, value.value); }
  void Set(const std::string& key, const Guid& value) { Set(key, value.ToString()); }

  // Empty, zero, if it was not set.
  std::string Text(const std::string& key) const;
  std::uint64_t Number(const std::string& key) const;
  Lsn LsnOf(const std::string& key) const { return {Number(key)}; }
  Guid GuidOf(const std::string& key) const;
  bool Has(const std::string& key) const { return values_.contains(key); }

  std::string Encode(const std::string& kind) const;
  // kDataLoss if it is none of this kind, or damaged.
  static Result<KeyedRecord> Decode(const std::string& text, const std::string& kind);

 private:
  std::map<std::string, std::string> values_;
};

// Writes beside it, syncs, renames, syncs the folder.
Status ReplaceFileDurably(const std::string& path, const std::string& contents);
// nullopt if there is none.
Result<std::optional<std::string>> ReadSmallFile(const std::string& path);
Status SyncFolder(const std::string& folder);
// Makes the folder and those above it, for the server alone (0700).
Status MakeFolders(const std::string& folder);
// OK if it is not there.
Status RemoveFile(const std::string& path);
std::string FolderOf(const std::string& path);

}  // namespace capstan::writers
