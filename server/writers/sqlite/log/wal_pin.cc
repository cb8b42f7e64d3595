#include "server/writers/sqlite/log/wal_pin.h"

namespace capstan::writers {

Status WalPin::TakeSlot() {
  if (slot_) {
    return OkStatus();
  }
  Status status;
  // Readers take the marks from the first one on, so look for an unused one from behind.
  for (const bool any : {false, true}) {
    for (int number = 4; number >= 1; --number) {
      Status locked = connection_->LockReadMark(number);
      if (!locked.ok()) {
        status = std::move(locked);
        continue;
      }
      // Nobody can change the mark now.
      unused_ = index_->read_mark(number) == SqliteWalIndex::kReadMarkUnused;
      if (unused_ || any) {
        slot_ = number;
        DropZero();
        return OkStatus();
      }
      connection_->UnlockReadMark(number);
    }
  }
  return status;
}

Status WalPin::TakeZero() {
  if (!zero_) {
    CAPSTAN_RETURN_IF_ERROR(connection_->LockReadMark(0));
    zero_ = true;
  }
  return OkStatus();
}

void WalPin::DropSlot() {
  if (slot_) {
    connection_->UnlockReadMark(*slot_);
    slot_.reset();
  }
}

void WalPin::DropZero() {
  if (zero_) {
    connection_->UnlockReadMark(0);
    zero_ = false;
  }
}

void WalPin::Release() {
  DropSlot();
  DropZero();
}

}  // namespace capstan::writers
