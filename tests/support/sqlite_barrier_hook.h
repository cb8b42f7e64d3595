// Lets a test come between any two looks that a connection takes at the shared memory of a WAL:
// SQLite, and whoever reads the wal-index as it does, calls xShmBarrier between them.
#pragma once

#include <functional>
#include <utility>

#include <sqlite3.h>

namespace capstan::test {

// While it exists, connections that are opened call `hook` in front of every barrier of theirs;
// barriers that the hook itself causes do not. One at a time, and all of it in one thread. They may
// outlive it, then without a hook.
class SqliteBarrierHook {
 public:
  explicit SqliteBarrierHook(std::function<void()> hook) {
    hook_ = std::move(hook);
    original_vfs_ = sqlite3_vfs_find(nullptr);
    static sqlite3_vfs vfs;
    vfs = *original_vfs_;
    vfs.zName = "barrier-hook";
    vfs.pNext = nullptr;
    vfs.xOpen = &Open;
    vfs_ = &vfs;
    sqlite3_vfs_register(vfs_, 1);
  }
  ~SqliteBarrierHook() {
    sqlite3_vfs_unregister(vfs_);
    sqlite3_vfs_register(original_vfs_, 1);
    hook_ = nullptr;
  }
  SqliteBarrierHook(const SqliteBarrierHook&) = delete;
  SqliteBarrierHook& operator=(const SqliteBarrierHook&) = delete;

 private:
  static int Open(sqlite3_vfs* vfs, sqlite3_filename name, sqlite3_file* file, int flags,
                  int* out_flags) {
    const int code = original_vfs_->xOpen(vfs, name, file, flags, out_flags);
    if (code == SQLITE_OK && file->pMethods->iVersion >= 2 && (flags & SQLITE_OPEN_MAIN_DB) != 0) {
      original_barrier_ = file->pMethods->xShmBarrier;
      methods_ = *file->pMethods;
      methods_.xShmBarrier = &Barrier;
      file->pMethods = &methods_;
    }
    return code;
  }

  static void Barrier(sqlite3_file* file) {
    if (auto hook = std::exchange(hook_, nullptr)) {
      hook();
      hook_ = std::move(hook);
    }
    original_barrier_(file);
  }

  static inline std::function<void()> hook_;
  static inline sqlite3_vfs* original_vfs_ = nullptr;
  static inline void (*original_barrier_)(sqlite3_file*) = nullptr;
  static inline sqlite3_io_methods methods_{};
  sqlite3_vfs* vfs_ = nullptr;
};

}  // namespace capstan::test
