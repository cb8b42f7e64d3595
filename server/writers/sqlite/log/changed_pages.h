// ChangedPages: which pages of a database have frames in the log since some full backup; one bit
// per page (32 MiB for a database of 1 TiB).
//
// Valid between two LSNs: `from`, in front of the backup's view, and `upto`, to where the log was
// followed. On disk in a file of its own; what came after it was written is found in the log
// itself. Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/writers/chain.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class ChangedPages {
 public:
  explicit ChangedPages(Lsn from) : from_(from), upto_(from) {}

  // `number` from 1. Growing fails silently never: the memory is a bit per page of the database.
  void Add(std::uint32_t number);
  bool Has(std::uint32_t number) const;
  // The first changed page from `number` on, at most `last`; 0: none.
  std::uint32_t Next(std::uint32_t number, std::uint32_t last) const;
  std::uint64_t count() const;

  Lsn from() const { return from_; }
  Lsn upto() const { return upto_; }
  void set_upto(Lsn lsn) { upto_ = lsn; }

  Status Save(const std::string& path) const;
  // kNotFound, kDataLoss.
  static Result<ChangedPages> Load(const std::string& path);

 private:
  Lsn from_;
  Lsn upto_;
  std::vector<std::uint64_t> words_;
};

}  // namespace capstan::writers
